// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Engines are deprecated, but a host may have one.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "x509/tls_library.h"

#include <openssl/conf.h>
#include <openssl/core_dispatch.h>
#include <openssl/decoder.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include <array>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {
namespace {

constexpr long kDecodersAreRememberedSince = 0x30200000L;
constexpr char kProvider[] = "linchpin-tls";

// Of openssl.cnf. Providers are judged by which are active; the others hold in every context.
constexpr std::array<absl::string_view, 4> kHarmlessModules = {"providers", "ssl_conf",
                                                               "oid_section", "stbl_section"};

// DER finds out by its algorithm what a SubjectPublicKeyInfo holds.
constexpr std::array<absl::string_view, 6> kDecoders = {"DER",     "EC",      "RSA",
                                                        "RSA-PSS", "ED25519", "ED448"};
// Those of TLS 1.3's suites, and of tickets.
constexpr std::array<absl::string_view, 6> kCiphers = {
    "AES-128-GCM", "AES-256-GCM", "AES-128-CCM", "AES-256-CCM", "ChaCha20-Poly1305", "AES-256-CBC"};

void FreeText(char* text) { OPENSSL_free(text); }

// What the stock default provider does, with less to look through. Made once and never freed.
struct ShortProvider {
  OSSL_LIB_CTX* stock_context = nullptr;  // in which its algorithms find each other
  void* stock = nullptr;
  const OSSL_DISPATCH* stock_functions = nullptr;
  OSSL_FUNC_provider_query_operation_fn* stock_query = nullptr;
  std::vector<OSSL_DISPATCH> functions;
  std::vector<OSSL_ALGORITHM> decoders;
  std::vector<OSSL_ALGORITHM> ciphers;
  OSSL_LIB_CTX* context = nullptr;  // in which only this provider is; null: it could not be made
};

ShortProvider& TheProvider();

const OSSL_ALGORITHM* Query(void* stock, int operation, int* no_cache) {
  ShortProvider& provider = TheProvider();
  const OSSL_ALGORITHM* algorithms = provider.stock_query(stock, operation, no_cache);
  if (operation == OSSL_OP_DECODER) return provider.decoders.data();
  return operation == OSSL_OP_CIPHER ? provider.ciphers.data() : algorithms;
}

bool ReadsPublicKeys(const OSSL_ALGORITHM& decoder) {
  const std::vector<absl::string_view> properties =
      absl::StrSplit(decoder.property_definition, ',');
  return absl::c_linear_search(properties, "input=der") &&
         absl::c_linear_search(properties, "structure=SubjectPublicKeyInfo");
}

// Those of `all` that have one of the names first; empty unless each name has one.
template <size_t kCount>
std::vector<OSSL_ALGORITHM> Named(const std::array<absl::string_view, kCount>& names,
                                  const OSSL_ALGORITHM* all, bool (*fits)(const OSSL_ALGORITHM&)) {
  std::vector<OSSL_ALGORITHM> named;
  for (const OSSL_ALGORITHM* at = all; at != nullptr && at->algorithm_names != nullptr; ++at) {
    const std::vector<absl::string_view> own = absl::StrSplit(at->algorithm_names, ':');
    if (absl::c_linear_search(names, own.front()) && fits(*at)) named.push_back(*at);
  }
  if (named.size() != kCount) return {};
  named.push_back({});  // the end, for OpenSSL
  return named;
}

// False: it has not what is expected of it.
bool TakeOver(const OSSL_PROVIDER* stock, ShortProvider* provider) {
  provider->stock = OSSL_PROVIDER_get0_provider_ctx(stock);
  provider->stock_functions = OSSL_PROVIDER_get0_dispatch(stock);
  for (const OSSL_DISPATCH* at = provider->stock_functions; at->function_id != 0; ++at) {
    OSSL_DISPATCH entry = *at;
    // Its end is the stock provider's own affair.
    if (entry.function_id == OSSL_FUNC_PROVIDER_TEARDOWN) continue;
    if (entry.function_id == OSSL_FUNC_PROVIDER_QUERY_OPERATION) {
      provider->stock_query = OSSL_FUNC_provider_query_operation(at);
      entry.function = reinterpret_cast<void (*)()>(Query);
    }
    provider->functions.push_back(entry);
  }
  provider->functions.push_back({});
  if (provider->stock_query == nullptr) return false;
  int ignored = 0;
  provider->decoders =
      Named(kDecoders, provider->stock_query(provider->stock, OSSL_OP_DECODER, &ignored),
            ReadsPublicKeys);
  provider->ciphers =
      Named(kCiphers, provider->stock_query(provider->stock, OSSL_OP_CIPHER, &ignored),
            [](const OSSL_ALGORITHM&) { return true; });
  return !provider->decoders.empty() && !provider->ciphers.empty();
}

int Init(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** functions,
         void** stock) {
  *functions = TheProvider().functions.data();
  *stock = TheProvider().stock;
  return 1;
}

ShortProvider* MakeProvider() {
  auto* const provider = new ShortProvider;
  provider->stock_context = OSSL_LIB_CTX_new();
  if (provider->stock_context == nullptr) return provider;
  const OSSL_PROVIDER* stock = OSSL_PROVIDER_load(provider->stock_context, "default");
  if (stock == nullptr || !TakeOver(stock, provider)) return provider;
  provider->context = OSSL_LIB_CTX_new();
  return provider;
}

ShortProvider& TheProvider() {
  static ShortProvider* const provider = MakeProvider();
  return *provider;
}

// Null if it cannot be had.
OSSL_LIB_CTX* ShortContext() {
  static OSSL_LIB_CTX* const context = [] {
    OSSL_LIB_CTX* made = TheProvider().context;
    const bool ok = made != nullptr && OSSL_PROVIDER_add_builtin(made, kProvider, Init) == 1 &&
                    OSSL_PROVIDER_load(made, kProvider) != nullptr;
    return ok ? made : nullptr;
  }();
  return context;
}

// Each of these says what of the host is not as OpenSSL comes; empty: nothing.

std::string InConfiguration() {
  ErrorQueueScope errors;
  OpenSslPtr<char, FreeText> path(CONF_get1_default_config_file());
  OpenSslPtr<CONF, NCONF_free> config(NCONF_new(nullptr));
  if (path == nullptr || config == nullptr) return "openssl.cnf cannot be found";
  if (*path == '\0') return "";
  if (NCONF_load(config.get(), path.get(), nullptr) != 1) {
    const bool absent = ERR_GET_REASON(ERR_peek_last_error()) == CONF_R_NO_SUCH_FILE;
    return absent ? "" : absl::StrCat(path.get(), " cannot be read");
  }
  const char* section = NCONF_get_string(config.get(), nullptr, "openssl_conf");
  const STACK_OF(CONF_VALUE)* modules =
      section == nullptr ? nullptr : NCONF_get_section(config.get(), section);
  for (int i = 0; i < sk_CONF_VALUE_num(modules); ++i) {
    const absl::string_view name = sk_CONF_VALUE_value(modules, i)->name;
    const absl::string_view module = name.substr(0, name.rfind('.'));
    if (!absl::c_linear_search(kHarmlessModules, module)) {
      return absl::StrCat(path.get(), " sets ", name);
    }
  }
  return "";
}

std::string InProviders() {
  struct Seen {
    bool stock = false;
    std::string other;
  } seen;
  OSSL_PROVIDER_do_all(
      nullptr,
      [](OSSL_PROVIDER* provider, void* to) {
        auto* const all = static_cast<Seen*>(to);
        if (OSSL_PROVIDER_get0_dispatch(provider) == TheProvider().stock_functions) {
          all->stock = true;
        } else {
          all->other = OSSL_PROVIDER_get0_name(provider);
        }
        return 1;
      },
      &seen);
  if (!seen.other.empty()) return absl::StrCat("its provider ", seen.other, " is active");
  return seen.stock ? "" : "its default provider is not active";
}

std::string InProperties() {
  if (EVP_default_properties_is_fips_enabled(nullptr) == 1) return "FIPS is on";
  ErrorQueueScope errors;
  OpenSslPtr<EVP_MD, EVP_MD_free> digest(EVP_MD_fetch(nullptr, "SHA256", nullptr));
  OpenSslPtr<OSSL_DECODER, OSSL_DECODER_free> decoder(
      OSSL_DECODER_fetch(nullptr, "EC", "input=der,structure=SubjectPublicKeyInfo"));
  return digest != nullptr && decoder != nullptr ? "" : "its default properties forbid TLS";
}

std::string InEngines() {
#ifndef OPENSSL_NO_ENGINE
  for (const int type : {EVP_PKEY_EC, EVP_PKEY_RSA, EVP_PKEY_ED25519, EVP_PKEY_X25519}) {
    ENGINE* engine = ENGINE_get_pkey_meth_engine(type);
    if (engine == nullptr) continue;
    std::string name = ENGINE_get_id(engine);
    ENGINE_finish(engine);
    return absl::StrCat("its engine ", name, " handles keys");
  }
#endif
  return "";
}

std::string NotAsItComes() {
  static const std::string* const configured = new std::string(InConfiguration());
  if (!configured->empty()) return *configured;
  if (OSSL_LIB_CTX_set0_default(nullptr) != OSSL_LIB_CTX_get0_global_default()) {
    return "this thread has a default library context of its own";
  }
  for (const auto& in : {InProviders, InProperties, InEngines}) {
    std::string found = in();
    if (!found.empty()) return found;
  }
  return "";
}

}  // namespace

TlsLibrary ChooseTlsLibrary() {
  if (OpenSSL_version_num() >= kDecodersAreRememberedSince) {
    return {nullptr, absl::StrCat("TLS uses the default context of ",
                                  OpenSSL_version(OPENSSL_VERSION), ", which remembers decoders")};
  }
  ErrorQueueScope errors;
  if (ShortContext() == nullptr) {
    return {nullptr, "TLS uses OpenSSL's default context: a smaller one cannot be made"};
  }
  const std::string not_stock = NotAsItComes();
  if (!not_stock.empty()) {
    return {nullptr,
            absl::StrCat("TLS uses OpenSSL's default context, as this host has set: ", not_stock)};
  }
  return {ShortContext(),
          "TLS uses a smaller context: OpenSSL's default provider with fewer decoders"};
}

}  // namespace linchpin::x509
