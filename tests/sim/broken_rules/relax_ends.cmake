# Pins that were relaxed stay so.
set(SOURCE trust/pin_upkeep.cc)
set(FROM [==[      ForRelax(times) < held.relaxed.ends_at ? absl]==])
set(TO [==[      !held.relaxed.used.empty() ? absl]==])
