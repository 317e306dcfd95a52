// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"

namespace linchpin::rpc {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;

struct V1 {
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;
  static constexpr char kService[] = "grpc.reflection.v1.ServerReflection";
};
struct V1Alpha {
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;
  static constexpr char kService[] = "grpc.reflection.v1alpha.ServerReflection";
};

// A file is written once, since anybody may ask for it again and again: there are as many as were
// compiled in. Each thread has its own.
const std::string& Written(const FileDescriptor* file) {
  static thread_local std::map<const FileDescriptor*, std::string> written;
  std::string& bytes = written[file];
  if (bytes.empty()) {
    google::protobuf::FileDescriptorProto proto;
    file->CopyTo(&proto);
    bytes = proto.SerializeAsString();
  }
  return bytes;
}

// With the files that it imports, each once.
template <typename Response>
void AddFile(const FileDescriptor* file, std::set<const FileDescriptor*>& added,
             Response* response) {
  if (!added.insert(file).second) return;
  response->mutable_file_descriptor_response()->add_file_descriptor_proto(Written(file));
  for (int i = 0; i < file->dependency_count(); ++i) {
    AddFile(file->dependency(i), added, response);
  }
}

template <typename Response>
void Refuse(absl::StatusCode code, const std::string& why, Response* response) {
  response->mutable_error_response()->set_error_code(static_cast<int>(code));
  response->mutable_error_response()->set_error_message(why);
}

template <typename Response>
void AnswerFile(const FileDescriptor* file, const std::string& asked, Response* response) {
  std::set<const FileDescriptor*> added;
  if (file != nullptr) return AddFile(file, added, response);
  Refuse(absl::StatusCode::kNotFound, absl::StrCat("nothing is known of ", asked), response);
}

template <typename Api>
void Answer(const typename Api::Request& request, const std::set<std::string>& services,
            typename Api::Response* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const auto type = [&pool](const std::string& name) { return pool.FindMessageTypeByName(name); };
  response->set_valid_host(request.host());
  *response->mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Api::Request::kFileByFilename:
      return AnswerFile(pool.FindFileByName(request.file_by_filename()), request.file_by_filename(),
                        response);
    case Api::Request::kFileContainingSymbol:
      return AnswerFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                        request.file_containing_symbol(), response);
    case Api::Request::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      const auto* of = type(asked.containing_type());
      const auto* found =
          of == nullptr ? nullptr : pool.FindExtensionByNumber(of, asked.extension_number());
      return AnswerFile(found == nullptr ? nullptr : found->file(), asked.containing_type(),
                        response);
    }
    case Api::Request::kAllExtensionNumbersOfType: {
      const std::string& name = request.all_extension_numbers_of_type();
      const auto* of = type(name);
      if (of == nullptr) return AnswerFile<typename Api::Response>(nullptr, name, response);
      std::vector<const google::protobuf::FieldDescriptor*> found;
      pool.FindAllExtensions(of, &found);
      auto* answer = response->mutable_all_extension_numbers_response();
      answer->set_base_type_name(name);
      for (const auto* extension : found) answer->add_extension_number(extension->number());
      return;
    }
    case Api::Request::kListServices:
      for (const std::string& service : services) {
        response->mutable_list_services_response()->add_service()->set_name(service);
      }
      return;
    default:
      return Refuse(absl::StatusCode::kUnimplemented, "the request asks for nothing", response);
  }
}

// Answers one request after the other.
template <typename Api>
class Dialogue final : public CallEvents {
 public:
  Dialogue(LocalCall& call, const std::set<std::string>& services)
      : call_(call), services_(services) {}

 private:
  void OnMessage(absl::string_view message) override {
    typename Api::Request request;
    if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return call_.Finish(absl::InternalError("the request is no message of this method"));
    }
    auto response = std::make_shared<typename Api::Response>();
    Answer<Api>(request, services_, response.get());
    call_.Write(std::move(response));
  }
  void OnSilence() override { call_.Finish(absl::OkStatus()); }
  void OnWritten() override { call_.Read(); }
  void OnDone(bool) override {}

  LocalCall& call_;  // which keeps this object
  const std::set<std::string>& services_;
};

template <typename Api>
void Add(const std::shared_ptr<const std::set<std::string>>& services, LocalMethods& methods) {
  methods.AddDialogue(absl::StrCat("/", Api::kService, "/ServerReflectionInfo"),
                      [services](const CallPtr& call) {
                        call->Follow(std::make_shared<Dialogue<Api>>(*call, *services));
                        call->Read();
                      });
}

}  // namespace

void AddReflection(LocalMethods& methods) {
  std::set<std::string> services = methods.Services();
  services.insert({V1::kService, V1Alpha::kService});
  const auto all = std::make_shared<const std::set<std::string>>(std::move(services));
  Add<V1>(all, methods);
  Add<V1Alpha>(all, methods);
}

}  // namespace linchpin::rpc
