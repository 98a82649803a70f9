/* What generated code for the sim target calls: GPU threads that wait for each other, on the CPU. Plain C, like Abi.h.
 *
 * A kernel with barriers, shuffles or shared memory is compiled to a function that one GPU thread runs (`fn`), on a
 * stack of its own. gmc_sim_run runs blocks [begin, end) one after the other, switching between the threads of a block
 * where they wait. A kernel that a GPU would hang on, or whose behaviour it leaves undefined, ends the process with
 * exit code 4 and a message that names the kernel and the threads. */
#ifndef GMC_SIM_H
#define GMC_SIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What one thread knows. `shared` is the block's memory, filled with 0xff (NaN) when the block starts. */
typedef struct GmcSimThread {
  char *const *operands;
  char *shared;
  uint32_t block, thread;
} GmcSimThread;

typedef struct GmcSimKernel {
  void (*fn)(GmcSimThread *self);
  const char *name;
  uint32_t threads; /* of a block: a multiple of 32, at most 1024 */
  uint32_t shared;  /* bytes of the block's memory */
} GmcSimKernel;

void gmc_sim_run(const GmcSimKernel *kernel, char *const *operands, int64_t begin, int64_t end);

/* Waits until every thread of the block is here. A thread that has ended never comes: an error. */
void gmc_sim_barrier(GmcSimThread *self);

/* The warp operations wait for the lanes in `mask`, each of which must call with the same mask and operation. */
void gmc_sim_sync_warp(GmcSimThread *self, uint32_t mask);

enum { GMC_SIM_SHUFFLE_XOR = 0, GMC_SIM_SHUFFLE_UP = 1, GMC_SIM_SHUFFLE_DOWN = 2, GMC_SIM_SHUFFLE_IDX = 3 };

/* PTX shfl.sync: the source lane's value, and in bit 32 the predicate: whether the source lane is within the segment
 * that `clamp` describes. Where it is not, the value is the lane's own. */
uint64_t gmc_sim_shuffle(GmcSimThread *self, uint32_t mask, uint32_t kind, uint32_t value, uint32_t lane,
                         uint32_t clamp);

/* PTX vote.sync.ballot: the lanes of `mask` with a non-zero predicate. */
uint32_t gmc_sim_ballot(GmcSimThread *self, uint32_t mask, uint32_t predicate);

enum { GMC_SIM_MMA_BF16 = 0, GMC_SIM_MMA_F16 = 1, GMC_SIM_MMA_F16_K8 = 2 /* m16n8k8: two registers of A, one of B */ };

/* PTX mma.sync.m16n8k16.row.col.f32 of all 32 lanes: `operands` are a lane's four registers of A and two of B, `sums`
 * its four of C on entry and of D on return. Products are exact and added in f32 in the order of k, which a tensor core
 * need not do. */
void gmc_sim_mma(GmcSimThread *self, uint32_t type, const uint32_t *operands, float *sums);

/* PTX ldmatrix.sync.aligned.m8n8.x4[.trans].shared.b16 of all 32 lanes: `row` is the 16 bytes that the lane names,
 * which `registers` are the lane's four. */
void gmc_sim_load_matrices(GmcSimThread *self, uint32_t transposed, const void *row, uint32_t *registers);

#ifdef __cplusplus
}
#endif
#endif
