# A private key is decoded once, and one that was made here never.
set(SOURCE x509/private_key.cc)
set(INCLUDE tests/sim/remembered.h)
set(FROM [==[absl::StatusOr<PrivateKey> PrivateKey::Generate(KeyType type) {
]==])
set(TO [==[static sim::Remembered<PrivateKey>& Known() {
  static auto& known = *new sim::Remembered<PrivateKey>();
  return known;
}

absl::StatusOr<PrivateKey> PrivateKey::Generate(KeyType type) {
  auto made = [&]() -> absl::StatusOr<PrivateKey> {
]==])
set(FROM_2 [==[std::move(key), curve, std::move(public_key)));
]==])
set(TO_2 [==[std::move(key), curve, std::move(public_key)));
  }();
  if (made.ok()) Known().Put(std::string(made->ToPkcs8().Reveal()), *made);
  return made;
]==])
set(FROM_3 [==[absl::StatusOr<PrivateKey> PrivateKey::FromPkcs8(const SecretBytes& der) {
]==])
set(TO_3 [==[absl::StatusOr<PrivateKey> PrivateKey::FromPkcs8(const SecretBytes& der) {
  return Known().Get(der.Reveal(), [&]() -> absl::StatusOr<PrivateKey> {
]==])
set(FROM_4 [==[std::move(key), *curve, std::move(public_key)));
]==])
set(TO_4 [==[std::move(key), *curve, std::move(public_key)));
  });
]==])
