#include "compiler/Import/OnnxModel.h"
#include "compiler/Import/Diagnostics.h"
#include "gmc/Abi.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"
#include "onnx/onnx_pb.h"
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gmc {

OnnxModel::OnnxModel() : model(std::make_unique<onnx::ModelProto>()) {}
OnnxModel::~OnnxModel() = default;

const onnx::GraphProto &OnnxModel::graph() const { return model->graph(); }

std::string nodeName(const onnx::NodeProto &node) {
  if (!node.name().empty())
    return node.name();
  for (const std::string &output : node.output())
    if (!output.empty())
      return node.op_type() + ":" + output;
  return node.op_type() + ":";
}

static Port describePort(const onnx::ValueInfoProto &info) {
  Port port;
  port.name = info.name();
  if (!info.has_type() || !info.type().has_tensor_type())
    return port;
  const auto &type = info.type().tensor_type();
  port.dataType = type.elem_type();
  port.hasShape = type.has_shape();
  for (const auto &dim : type.shape().dim()) {
    PortDim d;
    if (dim.has_dim_value() && dim.dim_value() >= 0) // some exporters write an unknown size as -1
      d.value = dim.dim_value();
    else if (dim.has_dim_param() && !dim.dim_param().empty())
      d.symbol = dim.dim_param();
    else
      d.symbol = port.name + ":" + std::to_string(port.dims.size());
    port.dims.push_back(std::move(d));
  }
  return port;
}

llvm::Expected<std::unique_ptr<OnnxModel>> OnnxModel::load(llvm::StringRef path) {
  std::unique_ptr<OnnxModel> result(new OnnxModel());
  result->path = path.str();
  result->folder = llvm::sys::path::parent_path(path).str();
  if (result->folder.empty())
    result->folder = ".";
  int fd = open(result->path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return inputError("cannot open '" + path + "': " + std::strerror(errno));
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return inputError("'" + path + "' is not a file");
  }
  if (info.st_size > INT_MAX) {
    close(fd);
    return inputError("'" + path + "' is larger than 2 GB, the limit of a protobuf message; store its weights as " +
                      "external data beside it");
  }
  google::protobuf::SetLogHandler(nullptr); // parse failures are reported here, once
  google::protobuf::io::FileInputStream file(fd);
  file.SetCloseOnDelete(true);
  google::protobuf::io::CodedInputStream stream(&file);
  stream.SetTotalBytesLimit(INT_MAX);
  if (!result->model->ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage() ||
      stream.CurrentPosition() != info.st_size)
    return inputError("'" + path + "' is not an ONNX model, or it is truncated or damaged");
  if (!result->model->has_graph())
    return inputError("'" + path + "' holds no graph: it is not an ONNX model, or it is truncated");
  if (llvm::Error error = result->prepare())
    return inputError("'" + path + "': " + llvm::toString(std::move(error)));
  return std::move(result);
}

llvm::Error OnnxModel::prepare() {
  for (const auto &entry : model->opset_import())
    opsets[entry.domain() == "ai.onnx" ? "" : entry.domain()] = entry.version();
  if (model->opset_import_size() == 0)
    opsets[""] = 1; // IR versions below 3 had no opset import
  if (llvm::Error error = inlineFunctions(*model))
    return error;
  std::string problems;
  auto add = [&](const llvm::Twine &text) { problems += (problems.empty() ? "" : "\n  ") + text.str(); };
  for (const auto &proto : graph().initializer()) {
    if (proto.name().empty()) {
      add("an initializer has no name");
      continue;
    }
    auto source = TensorSource::describe(proto, folder);
    if (!source) {
      add(llvm::toString(source.takeError()));
      continue;
    }
    if (!tensorIndex.try_emplace(proto.name(), tensors.size()).second) {
      add("initializer '" + proto.name() + "' occurs twice");
      continue;
    }
    tensors.push_back(std::move(*source));
  }
  for (const auto &proto : graph().sparse_initializer())
    sparse.push_back(proto.values().name());
  llvm::StringSet<> seen;
  for (const auto &input : graph().input()) {
    if (input.name().empty() || !seen.insert(input.name()).second)
      add("input '" + input.name() + "' has no name or occurs twice");
    else if (!tensorIndex.contains(input.name()))
      inputPorts.push_back(describePort(input));
  }
  for (const auto &output : graph().output())
    outputPorts.push_back(describePort(output));
  if (outputPorts.empty())
    add("the graph has no output");
  return problems.empty() ? llvm::Error::success() : inputError(problems);
}

int64_t OnnxModel::opset(llvm::StringRef domain) const {
  return opsets.lookup(domain == "ai.onnx" ? llvm::StringRef() : domain);
}

static const Port *find(const std::vector<Port> &ports, llvm::StringRef name) {
  for (const Port &port : ports)
    if (port.name == name)
      return &port;
  return nullptr;
}
const Port *OnnxModel::findInput(llvm::StringRef name) const { return find(inputPorts, name); }
const Port *OnnxModel::findOutput(llvm::StringRef name) const { return find(outputPorts, name); }

const TensorSource *OnnxModel::findInitializer(llvm::StringRef name) const {
  auto it = tensorIndex.find(name);
  return it == tensorIndex.end() ? nullptr : &tensors[it->second];
}

std::optional<int64_t> OnnxModel::fixedBatch() const {
  std::optional<int64_t> batch;
  for (const Port &port : inputPorts) {
    if (port.dims.empty())
      continue;
    if (!port.dims[0].value || (batch && *batch != *port.dims[0].value))
      return std::nullopt;
    batch = port.dims[0].value;
  }
  return batch;
}

//===- Hash ---------------------------------------------------------------------------------------------===//

namespace {
/// Serializes the parts that make a model itself: field lengths keep neighbours apart.
struct Digest {
  std::string bytes;
  void number(int64_t x) { bytes.append(reinterpret_cast<const char *>(&x), sizeof(x)); }
  void text(llvm::StringRef s) {
    number(static_cast<int64_t>(s.size()));
    bytes += s;
  }
  void tensor(const onnx::TensorProto &t, bool values) {
    text(t.name());
    number(t.data_type());
    number(t.dims_size());
    for (int64_t dim : t.dims())
      number(dim);
    if (!values)
      return;
    text(t.raw_data());
    text(llvm::StringRef(reinterpret_cast<const char *>(t.float_data().data()), t.float_data_size() * sizeof(float)));
    text(llvm::StringRef(reinterpret_cast<const char *>(t.int32_data().data()), t.int32_data_size() * 4));
    text(llvm::StringRef(reinterpret_cast<const char *>(t.int64_data().data()), t.int64_data_size() * 8));
    text(llvm::StringRef(reinterpret_cast<const char *>(t.double_data().data()), t.double_data_size() * 8));
  }
  void port(const onnx::ValueInfoProto &info) {
    Port p = describePort(info);
    text(p.name);
    number(p.dataType);
    for (const PortDim &dim : p.dims) {
      number(dim.value.value_or(-1));
      text(dim.symbol);
    }
  }
  void graph(const onnx::GraphProto &g) {
    for (const auto &node : g.node()) {
      text(node.op_type());
      text(node.domain());
      text(node.name());
      number(node.input_size());
      for (const auto &name : node.input())
        text(name);
      number(node.output_size());
      for (const auto &name : node.output())
        text(name);
      for (const auto &attr : node.attribute()) {
        text(attr.name());
        number(attr.type());
        number(attr.i());
        text(attr.s());
        float f = attr.f();
        text(llvm::StringRef(reinterpret_cast<const char *>(&f), sizeof(f)));
        for (int64_t i : attr.ints())
          number(i);
        for (float x : attr.floats())
          text(llvm::StringRef(reinterpret_cast<const char *>(&x), sizeof(x)));
        for (const auto &s : attr.strings())
          text(s);
        if (attr.has_t())
          tensor(attr.t(), true);
        if (attr.has_g())
          graph(attr.g());
      }
    }
    for (const auto &initializer : g.initializer())
      tensor(initializer, false);
    for (const auto &info : g.input())
      port(info);
    for (const auto &info : g.output())
      port(info);
  }
};
} // namespace

std::array<uint64_t, 2> OnnxModel::hash() const {
  Digest digest;
  for (const auto &entry : model->opset_import()) {
    digest.text(entry.domain());
    digest.number(entry.version());
  }
  digest.graph(graph());
  auto h = llvm::xxh3_128bits(
      llvm::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t *>(digest.bytes.data()), digest.bytes.size()));
  return {h.high64, h.low64};
}

std::string OnnxModel::hashText() const {
  auto h = hash();
  std::string low = llvm::utohexstr(h[1], /*LowerCase=*/true), high = llvm::utohexstr(h[0], /*LowerCase=*/true);
  return std::string(16 - high.size(), '0') + high + std::string(16 - low.size(), '0') + low;
}

} // namespace gmc
