# A root is an anchor because the CA says so.
set(SOURCE trust/trust_state.cc)
set(FROM [==[    if (!std::binary_search(anchor_pins.begin(), anchor_pins.end(), pin)) {
]==])
set(TO [==[    if (anchor_pins.empty()) {
]==])
