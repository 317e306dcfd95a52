// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/fuzz/message_mutator.h"

#include <limits>
#include <vector>

namespace linchpin::fuzz {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kMostGrowth = 256;
constexpr int kMostElements = 64;

// A field of a message, or one element of a repeated field.
struct Place {
  Message* message;
  const FieldDescriptor* field;
  int index = -1;  // of the element; -1: the field is not repeated
  const Reflection& reflection() const { return *message->GetReflection(); }
};

void Collect(Message* message, std::vector<Message*>* all) {
  all->push_back(message);
  std::vector<const FieldDescriptor*> fields;
  const Reflection& reflection = *message->GetReflection();
  reflection.ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      Collect(reflection.MutableMessage(message, field), all);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(*message, field); ++i) {
      Collect(reflection.MutableRepeatedMessage(message, field, i), all);
    }
  }
}

class Mutator {
 public:
  Mutator(test::SeededRandom& random, MutateBytes mutate_bytes)
      : random_(random), mutate_bytes_(mutate_bytes) {}

  void Mutate(Message* root) {
    Collect(root, &all_);
    Message* const message = all_[random_.Below(all_.size())];
    const auto& descriptor = *message->GetDescriptor();
    if (descriptor.field_count() == 0) return;
    const FieldDescriptor* const field =
        descriptor.field(static_cast<int>(random_.Below(descriptor.field_count())));
    if (field->is_repeated()) return MutateRepeated(message, field);
    const Reflection& reflection = *message->GetReflection();
    if (random_.OneIn(8)) return reflection.ClearField(message, field);
    Set({message, field});
  }

 private:
  void MutateRepeated(Message* message, const FieldDescriptor* field) {
    const Reflection& reflection = *message->GetReflection();
    const int size = reflection.FieldSize(*message, field);
    const auto any = [&] { return static_cast<int>(random_.Below(static_cast<uint64_t>(size))); };
    switch (random_.Below(size == 0 ? 1 : 5)) {
      case 0:
      case 1:
        if (size >= kMostElements) return;
        Add(message, field);
        // As a copy of another, often.
        if (size > 0 && random_.OneIn(2)) Copy(message, field, any());
        return;
      case 2:
        reflection.SwapElements(message, field, any(), size - 1);
        return reflection.RemoveLast(message, field);
      case 3:
        return reflection.SwapElements(message, field, any(), any());
      default:
        return Set({message, field, any()});
    }
  }

  void Add(Message* message, const FieldDescriptor* field) {
    const Reflection& reflection = *message->GetReflection();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        reflection.AddMessage(message, field);
        return;
      case FieldDescriptor::CPPTYPE_STRING:
        reflection.AddString(message, field, "");
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        reflection.AddUInt32(message, field, 0);
        break;
      default:
        return;  // our messages repeat nothing else
    }
    Set({message, field, reflection.FieldSize(*message, field) - 1});
  }

  // Element `from` over the last one.
  static void Copy(Message* message, const FieldDescriptor* field, int from) {
    const Reflection& reflection = *message->GetReflection();
    const int last = reflection.FieldSize(*message, field) - 1;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      reflection.MutableRepeatedMessage(message, field, last)
          ->CopyFrom(reflection.GetRepeatedMessage(*message, field, from));
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      reflection.SetRepeatedString(message, field, last,
                                   reflection.GetRepeatedString(*message, field, from));
    }
  }

  void Set(const Place& at) {
    switch (at.field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return SetMessage(at);
      case FieldDescriptor::CPPTYPE_STRING:
        return SetString(at);
      default:
        return SetNumber(at);
    }
  }

  // Becomes a copy of another of its kind, or comes into being. The copy is made first: another
  // choice of a oneof takes the present one with it.
  void SetMessage(const Place& at) {
    const Message* const other = all_[random_.Below(all_.size())];
    const bool alike = other->GetDescriptor() == at.field->message_type();
    const std::string copy = alike ? other->SerializeAsString() : "";
    Message* const message =
        at.index < 0 ? at.reflection().MutableMessage(at.message, at.field)
                     : at.reflection().MutableRepeatedMessage(at.message, at.field, at.index);
    if (alike) message->ParseFromString(copy);
  }

  void SetString(const Place& at) {
    std::string text = at.index < 0
                           ? at.reflection().GetString(*at.message, at.field)
                           : at.reflection().GetRepeatedString(*at.message, at.field, at.index);
    if (random_.OneIn(4)) {
      text = AnotherString(text);
    } else {
      const size_t size = text.size();
      text.resize(size + kMostGrowth);
      text.resize(mutate_bytes_(reinterpret_cast<uint8_t*>(text.data()), size, text.size()));
    }
    if (at.field->type() == FieldDescriptor::TYPE_STRING) {
      for (char& c : text) c = static_cast<char>(c & 0x7f);
      // Two bytes and four bytes, so that what cuts a text is seen to cut it.
      if (random_.OneIn(8)) text += random_.OneIn(2) ? "\u00e9" : "\U0001f4cc";
      if (random_.OneIn(64)) text.append(2048 + random_.Below(4), 'x').append("\u00e9\u00e9");
    }
    if (at.index < 0) {
      at.reflection().SetString(at.message, at.field, text);
    } else {
      at.reflection().SetRepeatedString(at.message, at.field, at.index, text);
    }
  }

  // One that is in the message: what refers to it must have it just so.
  std::string AnotherString(const std::string& otherwise) {
    Message* const message = all_[random_.Below(all_.size())];
    const Reflection& reflection = *message->GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(*message, &fields);
    for (const FieldDescriptor* field : fields) {
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_STRING || random_.OneIn(3)) continue;
      return field->is_repeated() ? reflection.GetRepeatedString(*message, field, 0)
                                  : reflection.GetString(*message, field);
    }
    return otherwise;
  }

  uint64_t Number(uint64_t before) {
    switch (random_.Below(6)) {
      case 0:
        return before + 1;
      case 1:
        return before - 1;
      case 2:
        return random_.Below(8);
      case 3:
        return std::numeric_limits<uint64_t>::max() >> random_.Below(64);
      case 4:
        return uint64_t{1} << random_.Below(64);
      default:
        return before + random_.Below(1 << 20) - (1 << 19);
    }
  }

  void SetNumber(const Place& at) {
    const Reflection& r = at.reflection();
    Message* const m = at.message;
    const FieldDescriptor* const f = at.field;
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL:
        return r.SetBool(m, f, !r.GetBool(*m, f));
      case FieldDescriptor::CPPTYPE_ENUM:
        return r.SetEnumValue(m, f,
                              static_cast<int>(random_.Below(
                                  static_cast<uint64_t>(f->enum_type()->value_count()) + 1)));
      case FieldDescriptor::CPPTYPE_INT64:
        return r.SetInt64(m, f, static_cast<int64_t>(Number(r.GetInt64(*m, f))));
      case FieldDescriptor::CPPTYPE_UINT64:
        return r.SetUInt64(m, f, Number(r.GetUInt64(*m, f)));
      case FieldDescriptor::CPPTYPE_UINT32:
        if (at.index < 0) {
          return r.SetUInt32(m, f, static_cast<uint32_t>(Number(r.GetUInt32(*m, f))));
        }
        return r.SetRepeatedUInt32(m, f, at.index, static_cast<uint32_t>(random_.Below(10)));
      default:
        return;  // our messages have no other numbers
    }
  }

  test::SeededRandom& random_;
  const MutateBytes mutate_bytes_;
  std::vector<Message*> all_;
};

}  // namespace

void MutateMessage(test::SeededRandom& random, MutateBytes mutate_bytes, Message* message) {
  Mutator(random, mutate_bytes).Mutate(message);
}

}  // namespace linchpin::fuzz
