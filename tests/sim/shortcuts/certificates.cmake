# A certificate is decoded once, and its signature verified once.
set(SOURCE x509/certificate.cc)
set(INCLUDE tests/sim/remembered.h)
set(FROM [==[absl::StatusOr<Certificate> Certificate::FromDer(absl::string_view der) {
]==])
set(TO [==[absl::StatusOr<Certificate> Certificate::FromDer(absl::string_view der) {
  static auto& known = *new sim::Remembered<Certificate>();
  return known.Get(der, [&]() -> absl::StatusOr<Certificate> {
]==])
set(FROM_2 [==[std::string(der), std::move(fields), std::move(key)));
]==])
set(TO_2 [==[std::string(der), std::move(fields), std::move(key)));
  });
]==])
set(FROM_3 [==[  return X509_verify(x509(), issuer.evp()) == 1;
]==])
set(TO_3 [==[  static auto& known = *new sim::Remembered<bool>();
  return *known.Get(absl::StrCat(sha256(), issuer.spki()), [&]() -> absl::StatusOr<bool> {
    return X509_verify(x509(), issuer.evp()) == 1;
  });
]==])
