# Pins that were relaxed stay so.
set(SOURCE trust/pin_upkeep.cc)
set(FROM [==[      times.latest < held.relaxed.ends_at ? absl]==])
set(TO [==[      !held.relaxed.used.empty() ? absl]==])
