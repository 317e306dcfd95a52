# What a node says that it holds may be lost with its process.
set(SOURCE agent/core/agent_core.cc)
set(FROM [==[  if (sealed_ != nullptr && sealed_->trust == trust_in_use_) ]==])
set(TO [==[  ]==])
