# A service says that it enforces what its handshakes do not use yet.
set(SOURCE sdk/sdk_core.cc)
set(FROM [==[  out->push_back(action::Swap{pending_});
]==])
set(TO [==[  out->push_back(action::Swap{pending_});
  in_force_ = pending_;
]==])
