// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/trust/golden_case.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/hex.h"
#include "base/status_macros.h"

namespace linchpin::test {
namespace {

namespace fs = std::filesystem;
using trust::SpiffeId;
using trust::TrustDomain;
using Fields = std::multimap<std::string, std::string>;

const char kFolder[] = LINCHPIN_SOURCE_DIR "/tests/golden/chains";

absl::StatusOr<std::string> ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path.string(), " cannot be read"));
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// PEM to DER without a look at what is inside: malformed ones are cases too.
absl::StatusOr<std::vector<std::string>> PemBlocks(const std::string& pem) {
  std::vector<std::string> blocks;
  std::string base64;
  for (absl::string_view line : absl::StrSplit(pem, '\n')) {
    if (absl::StartsWith(line, "-----BEGIN")) {
      base64.clear();
    } else if (absl::StartsWith(line, "-----END")) {
      std::string der;
      if (!absl::Base64Unescape(base64, &der)) return absl::InvalidArgumentError("bad PEM");
      blocks.push_back(std::move(der));
    } else {
      absl::StrAppend(&base64, line);
    }
  }
  return blocks;
}

class Reader {
 public:
  explicit Reader(std::string name) : folder_(fs::path(kFolder) / name) {}

  absl::StatusOr<GoldenCase> Read() {
    RETURN_IF_ERROR(ReadFields());
    GoldenCase result;
    ASSIGN_OR_RETURN(const std::string pem, ReadFile(folder_ / "chain.pem"));
    ASSIGN_OR_RETURN(result.chain, PemBlocks(pem));
    ASSIGN_OR_RETURN(result.context, ReadContext());
    ASSIGN_OR_RETURN(const std::string direction, One("direction"));
    if (direction != "inbound" && direction != "outbound") return Bad("direction", direction);
    result.direction =
        direction == "inbound" ? trust::Direction::kInbound : trust::Direction::kOutbound;
    ASSIGN_OR_RETURN(result.expect, ReadExpect());
    ASSIGN_OR_RETURN(result.now, ReadTime("now"));
    ASSIGN_OR_RETURN(const std::string verdict, One("verdict"));
    if (verdict != "allowed" && verdict != "refused") return Bad("verdict", verdict);
    result.allowed = verdict == "allowed";
    ASSIGN_OR_RETURN(result.reasons, One("reasons"));
    for (const auto& [field, value] : fields_) {
      if (!used_.contains(field)) return Bad(field, "which is unknown");
    }
    return result;
  }

 private:
  absl::Status Bad(const std::string& field, const std::string& value) const {
    return absl::InvalidArgumentError(
        absl::StrCat((folder_ / "case.txt").string(), ": ", field, ": ", value));
  }

  absl::Status ReadFields() {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(folder_ / "case.txt"));
    for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      const std::pair<std::string, std::string> field =
          absl::StrSplit(line, absl::MaxSplits(": ", 1));
      if (field.second.empty()) return Bad(field.first, "has no value");
      fields_.insert(field);
    }
    used_.insert("about");
    return One("about").status();
  }

  std::vector<std::string> All(const std::string& field) {
    used_.insert(field);
    std::vector<std::string> values;
    const auto [begin, end] = fields_.equal_range(field);
    for (auto it = begin; it != end; ++it) values.push_back(it->second);
    return values;
  }
  absl::StatusOr<std::string> One(const std::string& field) {
    std::vector<std::string> values = All(field);
    if (values.size() != 1) return Bad(field, absl::StrCat("is there ", values.size(), " times"));
    return values[0] == "none" && field != "reasons" ? "" : values[0];
  }
  std::string Maybe(const std::string& field) {
    const std::vector<std::string> values = All(field);
    return values.empty() ? "" : values[0];
  }

  absl::StatusOr<absl::Time> ReadTime(const std::string& field) {
    ASSIGN_OR_RETURN(const std::string text, One(field));
    absl::Time time;
    std::string error;
    if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return Bad(field, error);
    return time;
  }

  absl::StatusOr<x509::Certificate> Load(const std::string& file) const {
    const fs::path own = folder_ / file;
    const fs::path path = fs::exists(own) ? own : fs::path(kFolder) / "common" / file;
    ASSIGN_OR_RETURN(const std::string pem, ReadFile(path));
    ASSIGN_OR_RETURN(const std::vector<std::string> ders, PemBlocks(pem));
    if (ders.empty()) return Bad("certificate", file);
    return x509::Certificate::FromDer(ders[0]);
  }
  absl::StatusOr<x509::Chain> LoadAll(const std::string& field) {
    ASSIGN_OR_RETURN(const std::string files, One(field));
    x509::Chain chain;
    for (absl::string_view file : absl::StrSplit(files, ' ', absl::SkipEmpty())) {
      ASSIGN_OR_RETURN(x509::Certificate certificate, Load(std::string(file)));
      chain.push_back(std::move(certificate));
    }
    return chain;
  }

  absl::StatusOr<trust::v1::EffectivePins> ReadPins() {
    trust::v1::EffectivePins pins;
    pins.set_version(7);
    pins.set_is_signed(true);
    ASSIGN_OR_RETURN(const x509::Chain anchors, LoadAll("pinned_anchors"));
    ASSIGN_OR_RETURN(const x509::Chain issuers, LoadAll("pinned_issuers"));
    for (const auto& it : anchors) pins.add_anchors(it.public_key().pin().bytes());
    for (const auto& it : issuers) pins.add_issuers(it.public_key().pin().bytes());
    ASSIGN_OR_RETURN(const std::string mode, One("mode"));
    if (mode != "enforce" && mode != "report_only") return Bad("mode", mode);
    pins.set_mode(mode == "enforce" ? trust::v1::PinSet::ENFORCE : trust::v1::PinSet::REPORT_ONLY);
    pins.set_any_under_anchor(Maybe("any_under_anchor") == "yes");
    const std::string on_expiry = Maybe("on_expiry");
    if (on_expiry.empty()) return pins;
    ASSIGN_OR_RETURN(const absl::Time expires, ReadTime("expires_at"));
    pins.set_expires_at(absl::ToUnixSeconds(expires));
    ASSIGN_OR_RETURN(const absl::Time now, ReadTime("now"));
    pins.set_expired(now >= expires);  // as an agent whose clocks agree
    if (on_expiry == "relax") {
      pins.set_on_expiry(trust::v1::PinSet::RELAX);
    } else if (on_expiry == "fail_closed") {
      pins.set_on_expiry(trust::v1::PinSet::FAIL_CLOSED);
    } else if (on_expiry != "keep") {
      return Bad("on_expiry", on_expiry);
    }
    return pins;
  }

  absl::StatusOr<trust::Revocations> ReadRevocations() {
    std::vector<trust::v1::Revocation> entries;
    for (const std::string& text : All("revoke")) {
      const std::vector<std::string> words = absl::StrSplit(text, ' ');
      trust::v1::Revocation& entry = entries.emplace_back();
      if (words[0] == "serial" && words.size() == 2) {
        const std::optional<std::string> serial = base::BytesOfHex(words[1]);
        if (!serial) return Bad("revoke", words[1]);
        entry.set_serial(*serial);
      } else if (words[0] == "key" && words.size() == 2) {
        ASSIGN_OR_RETURN(const x509::Certificate certificate, Load(words[1]));
        entry.set_key_sha256(certificate.public_key().pin().bytes());
      } else if (words[0] == "id" && words.size() == 3) {
        absl::Time before;
        std::string error;
        if (!absl::ParseTime(absl::RFC3339_full, words[2], &before, &error)) {
          return Bad("revoke", error);
        }
        entry.set_spiffe_id(words[1]);
        entry.set_issued_before(absl::ToUnixSeconds(before));
      } else {
        return Bad("revoke", text);
      }
    }
    return trust::Revocations::FromMessages(std::move(entries));
  }

  absl::StatusOr<trust::PeerPolicy> ReadPolicy() {
    ASSIGN_OR_RETURN(const std::string self_text, One("self"));
    ASSIGN_OR_RETURN(const SpiffeId self, SpiffeId::Parse(self_text));
    std::vector<trust::v1::PeerRule> rules;
    for (const std::string& text : All("rule")) {
      const std::vector<std::string> words = absl::StrSplit(text, ' ');
      if (words.size() < 4 || words[1] != "->") return Bad("rule", text);
      trust::v1::PeerRule& rule = rules.emplace_back();
      rule.set_from(words[0]);
      rule.set_to(words[2]);
      rule.set_outbound(words[3] != "inbound");
      rule.set_inbound(words[3] != "outbound");
      if (words.size() > 4) rule.set_mode(trust::v1::PeerRule::AUDIT);
    }
    return trust::PeerPolicy::ForIdentity(self, rules);
  }

  absl::Status AddSecond(trust::TrustStates* states) {
    const std::string name = Maybe("second_trust_domain");
    if (name.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const TrustDomain trust_domain, TrustDomain::FromName(name));
    trust::TrustStateParts parts{.trust_domain = trust_domain};
    ASSIGN_OR_RETURN(parts.anchors, LoadAll("second_anchors"));
    for (const auto& it : parts.anchors) parts.pins.add_anchors(it.public_key().pin().bytes());
    parts.pins.set_mode(trust::v1::PinSet::ENFORCE);
    parts.pins.set_any_under_anchor(true);
    ASSIGN_OR_RETURN((*states)[trust_domain], trust::TrustState::Make(std::move(parts)));
    return absl::OkStatus();
  }

  absl::StatusOr<std::shared_ptr<const trust::MtlsContext>> ReadContext() {
    ASSIGN_OR_RETURN(const std::string name, One("trust_domain"));
    ASSIGN_OR_RETURN(const TrustDomain trust_domain, TrustDomain::FromName(name));
    trust::TrustStateParts state{.trust_domain = trust_domain};
    ASSIGN_OR_RETURN(state.anchors, LoadAll("anchors"));
    ASSIGN_OR_RETURN(state.issuers, LoadAll("issuers"));
    ASSIGN_OR_RETURN(state.pins, ReadPins());
    ASSIGN_OR_RETURN(state.revocations, ReadRevocations());
    trust::MtlsContextParts parts;
    ASSIGN_OR_RETURN(parts.trust[trust_domain], trust::TrustState::Make(std::move(state)));
    RETURN_IF_ERROR(AddSecond(&parts.trust));
    ASSIGN_OR_RETURN(parts.policy, ReadPolicy());
    return trust::MtlsContext::Make(std::move(parts));
  }

  absl::StatusOr<trust::Expect> ReadExpect() {
    ASSIGN_OR_RETURN(std::string text, One("expect"));
    if (text == "ca") return trust::Expect::Ca();
    if (text == "node") return trust::Expect::Node();
    if (text == "operator") return trust::Expect::Operator();
    if (text == "any_allowed") return trust::Expect::AnyAllowed();
    absl::string_view id_text = text;
    if (!absl::ConsumePrefix(&id_text, "id ")) return Bad("expect", text);
    ASSIGN_OR_RETURN(SpiffeId id, SpiffeId::Parse(id_text));
    return trust::Expect::Id(std::move(id));
  }

  const fs::path folder_;
  Fields fields_;
  std::set<std::string> used_;
};

}  // namespace

std::vector<std::string> GoldenCaseNames() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(kFolder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name != "common") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<GoldenCase> ReadGoldenCase(const std::string& name) { return Reader(name).Read(); }

absl::StatusOr<std::string> CommonCertificate(const std::string& file) {
  ASSIGN_OR_RETURN(const std::string pem, ReadFile(fs::path(kFolder) / "common" / file));
  ASSIGN_OR_RETURN(const std::vector<std::string> ders, PemBlocks(pem));
  if (ders.size() != 1) return absl::InvalidArgumentError(file + " is not one certificate");
  return ders[0];
}

std::string ReasonsText(const trust::Verdict& verdict) {
  if (verdict.findings.empty()) return "none";
  return absl::StrJoin(verdict.findings, " ", [](std::string* out, const trust::Finding& finding) {
    absl::StrAppend(out, trust::ReasonName(finding.reason), finding.blocks ? "" : "(reported)");
  });
}

}  // namespace linchpin::test
