# An operator is answered while the commit is still under way.
set(SOURCE ca/core/ca_core.cc)
set(FROM [==[      out->push_back(action::Commit{.ticket = ticket, .batch = change->batch});
]==])
set(TO [==[      out->push_back(action::Commit{.ticket = ticket, .batch = change->batch});
      const Registry durable = registry_;
      const bool applied = Apply(change->batch, registry_.revision() + 1).ok();
      if (applied && change->then) change->then(now, out);
      change->then = nullptr;
      registry_ = durable;
      next.call.reset();
]==])
