// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/pin_files.h"

#include <google/protobuf/util/json_util.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/trust/test_authority.h"

namespace linchpin::agent {
namespace {

using test::StatusIs;

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
  ASSERT_OK(*first);
  ASSERT_EQ((*first)->size(), 2u);
  EXPECT_FALSE(files.Look().has_value());
  Write("c.json", 3, "example.org");
  auto next = files.Look();
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ((*next)->size(), 3u);
}

TEST_F(PinFilesTest, AFileThatIsWrongIsNamedOnce) {
  PinFiles missing(Path("absent.json"), authority_.trust_domain());
  EXPECT_THAT(*missing.Look(), StatusIs(absl::StatusCode::kNotFound, "absent.json"));
  EXPECT_FALSE(missing.Look().has_value());
  std::ofstream(Path("bad.json")) << "{\"pinSets\": 7}";
  PinFiles bad(Path("bad.json"), authority_.trust_domain());
  EXPECT_THAT(*bad.Look(), StatusIs(absl::StatusCode::kInvalidArgument, "bad.json"));
  Write("other.json", 1, "other.org");
  PinFiles other(Path("other.json"), authority_.trust_domain());
  EXPECT_THAT(*other.Look(), StatusIs(absl::StatusCode::kFailedPrecondition, "other.org"));
}

}  // namespace
}  // namespace linchpin::agent
