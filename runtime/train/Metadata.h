// GmcModel.metadata: what the compiler tells the trainer beside the ABI's structures.
#ifndef GMC_TRAIN_METADATA_H
#define GMC_TRAIN_METADATA_H

#include "gmc/Abi.h"

#include <map>
#include <string>
#include <vector>

namespace gmc::rt {

/// The JSON object the compiler writes. Every key may be missing; the default then is the one below. Bytes and counts
/// are integers. Unknown keys are ignored.
///
///   "model"               file name of the ONNX model                                        string
///   "target"              "host" | "cuda" | "sim"                                            string
///   "archs"               e.g. ["x86-64-v3"] or ["sm_86"]; host: checked against this CPU    strings
///   "precision"           "fp32" | "bf16" | "fp16"                                           string
///   "numerics"            the plan's numerics hash                                           string
///   "batch", "micro_batch", "accumulation", "eval_batch"                                     integers
///   "loss"                {"kind": "cross-entropy"|"bce"|"mse"|"l1"|"output", "output": NAME,
///                          "class_axis": axis of the classes with the batch as axis 0, or -1,
///                          "classes": labels are in [0, classes) or "ignore_index"; 0: labels are no classes,
///                          "from_file": whether the loss is part of the ONNX file}           object
///   "entries"             {input: of how many entries its values choose one, which are in [-N, N)}   object
///   "optimizer"           "adamw" | "adam" | "sgd" | "momentum" | "nesterov" | "lion"        string
///   "clip", "ema"         compiled in?                                                       booleans
///   "workers_max"         decoding threads that the reserve holds memory for                 integer
///   "shuffle_buffer_max"  indices of the shuffle buffer that the reserve holds memory for    integer
///   "reserve"             {part: bytes}, e.g. {"process": N, "ring": N, "libraries": N}      object
///   "budget_bytes", "arena_bytes"                                                            integers
///   "predicted_step_ms"                                                                      number
///   "libraries"           shared objects loaded by name, e.g. ["libdnnl.so.2"]               strings
///   "hyper"               defaults: {"lr","weight_decay","momentum","beta1","beta2","epsilon","ema_decay"}
struct Metadata {
  std::string model = "model", target = "host", precision = "fp32", numerics, optimizer = "adamw";
  std::vector<std::string> archs, libraries;
  int64_t batch = 0, microBatch = 0, accumulation = 0, evalBatch = 0;
  std::string lossKind, lossOutput;
  int64_t classAxis = -1, classes = 0, ignoreIndex = -100;
  bool lossFromFile = false, clip = false, ema = false;
  int64_t workersMax = 1, shuffleBufferMax = 0;
  std::map<std::string, uint64_t> reserve;
  std::map<std::string, int64_t> entries;
  uint64_t budgetBytes = 0, arenaBytes = 0;
  double predictedStepMs = 0;
  float hyper[GMC_HYPER_COUNT] = {};
};

/// Parses the model's metadata; sizes that are missing are taken from its programs. Throws Error(ExitInternal) for
/// text that is no such JSON.
Metadata parseMetadata(const GmcModel &model);

/// Host bytes of the trainer's process apart from arena, ring and libraries: code and data it touches, C library,
/// main stack, JSON and option parsing, `threads` pool stacks, `tensors` bookkeeping. Measured in
/// test/runtime/MemoryTest.cpp, rounded up.
uint64_t processReserve(unsigned threads, uint64_t tensors);

/// Host bytes of oneDNN and libgomp and of `calls` different library calls: their code, descriptors and memory objects.
uint64_t libraryReserve(uint64_t calls, unsigned threads);

} // namespace gmc::rt

#endif
