/* The binary interface between generated code and the runtime: the only header both sides include. Plain C.
 *
 * A compiled model is one constant `gmc_model`. It describes an arena (the only device allocation), the tensors in
 * it that somebody outside the generated code reads or writes, and two programs over it: "train" is one optimizer
 * step, "eval" one evaluation batch. A program is a list of steps; a step launches kernels on operands that are
 * offsets into the arena. Nothing else is ever allocated for a tensor. */
#ifndef GMC_ABI_H
#define GMC_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GMC_ABI_MAGIC 0x43474d47u
#define GMC_ABI_VERSION 1u

/* Element types, numbered as in ONNX TensorProto.DataType. */
enum {
  GMC_FLOAT = 1, GMC_UINT8 = 2, GMC_INT8 = 3, GMC_UINT16 = 4, GMC_INT16 = 5, GMC_INT32 = 6, GMC_INT64 = 7,
  GMC_BOOL = 9, GMC_FLOAT16 = 10, GMC_DOUBLE = 11, GMC_UINT32 = 12, GMC_UINT64 = 13, GMC_BFLOAT16 = 16
};

enum { GMC_TARGET_HOST = 0, GMC_TARGET_CUDA = 1, GMC_TARGET_SIM = 2 };

enum { GMC_STAGE_FORWARD = 0, GMC_STAGE_RECOMPUTE = 1, GMC_STAGE_BACKWARD = 2, GMC_STAGE_UPDATE = 3 };

/* What a tensor is to the trainer.
 * INPUT, LABEL      written before each micro-step ([micro_batch, ...] as the tensor's dims say)
 * PARAMETER         trainable; loaded from and saved to safetensors under its ONNX initializer name
 * CONSTANT          frozen or non-float initializers and folded constants; loaded from safetensors, saved too when
 *                   GMC_TENSOR_INITIALIZER is set
 * STATE             optimizer moments, running statistics, EMA: in checkpoints; running statistics are initializers
 * HYPER             float[GMC_HYPER_COUNT], written before each optimizer step
 * RNG               int64[GMC_RNG_COUNT], written before each micro-step
 * VALID_SAMPLES     int64[1], written before each micro-step: rows at and past it weigh nothing in the loss
 * LOSS_SUM          float[1], sum of the loss over valid elements, accumulated over the micro-steps of a step
 * VALID_COUNT       float[1], what LOSS_SUM is divided by; accumulated likewise
 * CORRECT_COUNT     float[1], correctly classified valid elements (eval program of a classification loss)
 * OUTPUT            a graph output, readable after the eval program has run
 * GRADIENT          the accumulated gradient of the parameter of the same name (present when built for `gmc grad`)
 * STEP_COUNT        int64[1], optimizer steps applied, kept by the update kernels themselves */
enum {
  GMC_ROLE_INPUT = 0, GMC_ROLE_LABEL = 1, GMC_ROLE_PARAMETER = 2, GMC_ROLE_CONSTANT = 3, GMC_ROLE_STATE = 4,
  GMC_ROLE_HYPER = 5, GMC_ROLE_RNG = 6, GMC_ROLE_VALID_SAMPLES = 7, GMC_ROLE_LOSS_SUM = 8,
  GMC_ROLE_VALID_COUNT = 9, GMC_ROLE_CORRECT_COUNT = 10, GMC_ROLE_OUTPUT = 11, GMC_ROLE_GRADIENT = 12,
  GMC_ROLE_STEP_COUNT = 13
};

enum { GMC_TENSOR_INITIALIZER = 1u /* the name is that of an ONNX initializer */ };

/* Positions in the HYPER tensor. GMC_HYPER_CLIP is the largest allowed global gradient norm, <= 0 for none;
 * GMC_HYPER_SCALE_INTERVAL the steps without overflow after which the loss scale of fp16 doubles. */
enum {
  GMC_HYPER_LR = 0, GMC_HYPER_WEIGHT_DECAY = 1, GMC_HYPER_MOMENTUM = 2, GMC_HYPER_BETA1 = 3, GMC_HYPER_BETA2 = 4,
  GMC_HYPER_EPSILON = 5, GMC_HYPER_CLIP = 6, GMC_HYPER_EMA_DECAY = 7,
  GMC_HYPER_SCALE_INTERVAL = 8, GMC_HYPER_COUNT = 16
};

/* Positions in the RNG tensor: random numbers are a function of (seed, optimizer step, micro-step, node, element). */
enum { GMC_RNG_SEED = 0, GMC_RNG_STEP = 1, GMC_RNG_MICRO = 2, GMC_RNG_COUNT = 4 };

/* Host and sim: computes part [begin, end) of the kernel's iteration space (sim: of its blocks), 0 <= begin <= end <=
 * extent. Parts are independent of each other and of how the space is divided. operands[i] is an address inside the
 * arena. */
typedef void (*GmcKernelFn)(char *const *operands, int64_t begin, int64_t end);

typedef struct GmcLaunch {
  GmcKernelFn fn;    /* host, sim; null for cuda */
  const char *name;  /* the kernel's symbol: cuda looks it up in its module, profiles print it */
  int64_t extent;    /* host: size of the divisible iteration space; cuda, sim: number of blocks */
  int64_t grain;     /* host: a part smaller than this is not worth a thread; cuda, sim: threads per block */
  int64_t shared;    /* cuda: bytes of dynamic shared memory */
} GmcLaunch;

enum { GMC_LIBRARY_NONE = 0, GMC_LIBRARY_ONEDNN = 1 };

typedef struct GmcStep {
  const char *op;              /* e.g. "nn.conv2d" */
  const char *node;            /* first ONNX node it came from, "" for updates */
  const GmcLaunch *launches;   /* executed in order, each after the one before is complete */
  const uint64_t *operands;    /* arena offsets, the same array for every launch of the step */
  uint32_t numLaunches;
  uint32_t numOperands;
  uint32_t stage;              /* GMC_STAGE_* */
  uint32_t library; /* GMC_LIBRARY_*; not 0: `libraryArgs` describe a call (gmc/LibraryCall.h) that is executed
                       instead of the launches where the library is there */
  const int64_t *libraryArgs;
  uint32_t numLibraryArgs;
  float predictedMicros;
} GmcStep;

/* Steps first..last (both included) are one micro-step, executed count times. Steps in no loop run once. */
typedef struct GmcLoop { uint32_t first, last, count; } GmcLoop;

typedef struct GmcTensor {
  const char *name;
  const int64_t *dims;
  uint64_t offset;   /* in the arena */
  uint64_t bytes;
  uint32_t rank;
  uint32_t dtype;    /* GMC_FLOAT ... */
  uint32_t role;     /* GMC_ROLE_* */
  uint32_t flags;    /* GMC_TENSOR_* */
} GmcTensor;

typedef struct GmcProgram {
  const char *name;            /* "train", "eval" */
  const GmcStep *steps;
  const GmcLoop *loops;
  const GmcTensor *tensors;    /* tensors of this program only: inputs, labels, outputs, sums */
  uint32_t numSteps, numLoops, numTensors;
  uint32_t microBatch;         /* rows per micro-step */
} GmcProgram;

typedef struct GmcModel {
  uint32_t magic, version;
  uint32_t target;             /* GMC_TARGET_* */
  uint32_t threads;            /* host: threads the plan was made for */
  uint64_t arenaBytes, alignment, budgetBytes, reserveBytes;
  uint64_t hash[2];            /* model hash, also in the weights file's metadata as 32 hex digits, "gmc.model" */
  const char *metadata;        /* JSON: model, batch, accumulation, optimizer, options, reserve by part, plan figures */
  const GmcTensor *tensors;    /* tensors that live through every program: parameters, constants, state */
  const GmcProgram *programs;
  const void *image;           /* cuda: gmc/DeviceImage.h; host, sim: null */
  uint64_t imageBytes;
  uint32_t numTensors, numPrograms;
} GmcModel;

extern const GmcModel gmc_model;

#ifdef __cplusplus
}
#endif
#endif
