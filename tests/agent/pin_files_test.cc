// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/pin_files.h"

#include <google/protobuf/util/json_util.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/trust/test_authority.h"
#include "trust/relax.h"

namespace linchpin::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PinFilesTest : public testing::Test {
 protected:
  void Write(const std::string& name, uint64_t version, const std::string& trust_domain) {
    trust::v1::PinDocuments documents;
    documents.set_trust_domain(trust_domain);
    *documents.add_pin_sets() =
        test::Sign(authority_.PinSetMessage(version, {"alice"}, 1), {"alice"});
    std::string json;
    ASSERT_TRUE(google::protobuf::util::MessageToJsonString(documents, &json).ok());
    std::ofstream(Path(name)) << json;
  }
  std::string Path(const std::string& name) const { return dir_.Join(name); }

  test::TempDir dir_;
  test::TestAuthority authority_;
};

TEST_F(PinFilesTest, ADirectoryIsReadAsOneAndOnlyNewsAreTold) {
  Write("b.json", 1, "example.org");
  Write("a.json", 2, "example.org");
  std::ofstream(Path("notes.txt")) << "no set";
  PinFiles files(dir_.path(), authority_.trust_domain());
  auto first = files.Look();
  ASSERT_TRUE(first.has_value());
  EXPECT_THAT(first->faults, IsEmpty());
  ASSERT_EQ(first->documents.size(), 2u);
  EXPECT_FALSE(files.Look().has_value());
  Write("c.json", 3, "example.org");
  auto next = files.Look();
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->documents.size(), 3u);
}

TEST_F(PinFilesTest, AFileThatIsWrongIsNamedOnce) {
  PinFiles missing(Path("absent.json"), authority_.trust_domain());
  EXPECT_THAT(missing.Look()->faults, ElementsAre(HasSubstr("absent.json")));
  EXPECT_FALSE(missing.Look().has_value());
  std::ofstream(Path("bad.json")) << "{\"pinSets\": 7}";
  PinFiles bad(Path("bad.json"), authority_.trust_domain());
  EXPECT_THAT(bad.Look()->faults, ElementsAre(HasSubstr("bad.json")));
  Write("other.json", 1, "other.org");
  PinFiles other(Path("other.json"), authority_.trust_domain());
  EXPECT_THAT(other.Look()->faults, ElementsAre(HasSubstr("other.org")));
}

TEST_F(PinFilesTest, AFileThatIsWrongKeepsNoOtherOut) {
  Write("a.json", 1, "example.org");
  std::ofstream(Path("b.json")) << "{\"pinSe";  // half written
  Write("c.json", 1, "other.org");
  Write("d.json", 2, "example.org");
  std::filesystem::create_symlink(Path("nowhere"), Path("e.json"));
  PinFiles files(dir_.path(), authority_.trust_domain());
  const auto seen = files.Look();
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->documents.size(), 2u);
  EXPECT_THAT(seen->faults,
              ElementsAre(HasSubstr("b.json"), HasSubstr("c.json"), HasSubstr("e.json")));
  EXPECT_FALSE(files.Look().has_value());
  Write("b.json", 3, "example.org");
  const auto whole = files.Look();
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->documents.size(), 3u);
}

TEST_F(PinFilesTest, DocumentsAreTakenAsTheirSignersLeaveThem) {
  const auto before = test::Sign(authority_.PinSetMessage(1, {"alice"}, 1), {"alice"});
  const auto set = test::Sign(authority_.PinSetMessage(2, {"alice"}, 1), {"alice"});
  const auto parts = [](const auto& document) {
    return absl::StrCat(
        R"("payload": ")", absl::Base64Escape(document.payload()), R"(", "signatures": [{"key": ")",
        x509::SpkiPin::FromBytes(document.signatures(0).key_id())->ToString(),
        R"(", "signature": ")", absl::Base64Escape(document.signatures(0).signature()), R"("}])");
  };
  std::ofstream(Path("set.json")) << R"({"linchpin_pin_set": 1, "pin_set": {"version": 7}, )"
                                  << parts(set) << R"(, "before": {)" << parts(before) << "}}";
  trust::v1::Relax relax;
  relax.set_trust_domain("other.org");
  trust::v1::SignedRelax document;
  document.set_payload(relax.SerializeAsString());
  *document.add_signatures() = trust::SignRelax(document.payload(), test::KeyNamed("alice"));
  std::ofstream(Path("relax.json")) << R"({"linchpin_relax": 1, )" << parts(document) << "}";
  std::ofstream(Path("wrong.json")) << R"({"linchpin_pin_set": 1, "payload": 3})";
  PinFiles files(dir_.path(), authority_.trust_domain());
  const auto seen = files.Look();
  ASSERT_TRUE(seen.has_value());
  EXPECT_THAT(seen->faults, ElementsAre(HasSubstr("other.org"), HasSubstr("wrong.json")));
  ASSERT_EQ(seen->documents.size(), 1u);
  ASSERT_EQ(seen->documents[0].pin_sets_size(), 2);
  EXPECT_EQ(seen->documents[0].pin_sets(0).SerializeAsString(), before.SerializeAsString());
  EXPECT_EQ(seen->documents[0].pin_sets(1).SerializeAsString(), set.SerializeAsString());
}

}  // namespace
}  // namespace linchpin::agent
