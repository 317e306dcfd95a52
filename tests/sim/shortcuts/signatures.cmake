# A signature that verified is verified once.
set(SOURCE x509/key.cc)
set(INCLUDE tests/sim/remembered.h)
set(FROM [==[  ErrorQueueScope scope;
  const Curve* curve = CanonicalCurve(spki());
  if (curve == nullptr) return CheckLeafKey();
]==])
set(TO [==[  static auto& known = *new sim::Remembered<bool>();
  const std::string asked = absl::StrCat(spki(), "/", static_cast<int>(hash), "/", signature.size(),
                                         "/", signature, data);
  return known.Get(asked, [&]() -> absl::StatusOr<bool> {
  ErrorQueueScope scope;
  const Curve* curve = CanonicalCurve(spki());
  if (curve == nullptr) return CheckLeafKey();
]==])
set(FROM_2 [==[  return absl::OkStatus();
}

}  // namespace linchpin::x509
]==])
set(TO_2 [==[  return true;
  }).status();
}

}  // namespace linchpin::x509
]==])
