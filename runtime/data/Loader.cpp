#include "runtime/data/Loader.h"
#include "gmc/Error.h"
#include "runtime/data/Order.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <pthread.h>

namespace gmc::rt {
namespace {

constexpr size_t StackBytes = 256 << 10;
/// Rows a worker takes at once at most: enough that the lock costs nothing, few enough that workers share a batch.
constexpr int64_t MaxClaim = 16;

uint64_t roundUp(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

std::string outOfRange(const Slot &slot, int64_t value) {
  if (slot.isLabel)
    return "the label '" + slot.name + "' is " + std::to_string(value) + ", the model has the classes 0 to " +
           std::to_string(slot.classes - 1) + " (" + std::to_string(slot.ignoreIndex) + " marks what is to be ignored)";
  return "the input '" + slot.name + "' is " + std::to_string(value) + ", the model has entries 0 to " +
         std::to_string(slot.entries - 1) + " for it (-1 to -" + std::to_string(slot.entries) +
         " counted from the end)";
}

/// Throws SampleError for a label that is no class, whose loss would be no number, and for an input that chooses an
/// entry the model lacks.
template <typename T> void checkRange(const Slot &slot, const char *data) {
  int64_t lowest = slot.isLabel ? 0 : -slot.entries, end = slot.isLabel ? slot.classes : slot.entries;
  for (uint64_t i = 0, e = slot.elements(); i < e; ++i) {
    T value;
    std::memcpy(&value, data + i * sizeof value, sizeof value);
    if ((value < lowest || value >= end) && !(slot.isLabel && value == slot.ignoreIndex))
      throw SampleError(outOfRange(slot, value));
  }
}

void checkRanges(const std::vector<Slot> &slots, const std::vector<char *> &tensors) {
  for (size_t s = 0; s < slots.size(); ++s) {
    if ((slots[s].isLabel ? slots[s].classes : slots[s].entries) <= 0)
      continue;
    if (slots[s].dtype == GMC_INT64)
      checkRange<int64_t>(slots[s], tensors[s]);
    else if (slots[s].dtype == GMC_INT32)
      checkRange<int32_t>(slots[s], tensors[s]);
  }
}

} // namespace

unsigned ringSlots(int64_t microBatch, unsigned workers) {
  return 2 + static_cast<unsigned>((workers + microBatch - 1) / microBatch);
}

uint64_t ringBytes(uint64_t batchBytes, int64_t microBatch, unsigned workers, bool imageLike) {
  return ringSlots(microBatch, workers) * roundUp(batchBytes) +
         workers * (WorkerBytes + (imageLike ? ImageScratchBytes : 0));
}

struct Loader::Impl {
  /// A ring slot and what happened to its rows.
  struct Cell {
    MicroBatch batch;
    int64_t planned = 0;              ///< rows that samples are loaded into
    int64_t open = 0;                 ///< of them not loaded yet
    bool ready = false;
    std::vector<std::string> rowErrors; ///< per row, empty when it is good
    std::vector<int64_t> rowSamples;
    std::exception_ptr failure;
  };

  const Source &source;
  std::vector<Slot> slots;
  Device &device;
  LoaderOptions options;
  char *memory = nullptr;
  size_t memoryBytes = 0;

  std::mutex mutex;
  std::condition_variable canClaim, isReady, idle;
  std::vector<Cell> cells;
  std::vector<pthread_t> threads;
  bool stopping = false, paused = true;
  unsigned busy = 0;
  double waitSeconds = 0;

  // The generator: which sample goes into which row of which micro-batch. Under the mutex.
  std::optional<Order> order;
  int64_t epoch = 0, samplesLeft = 0, epochFirst = 0;
  int64_t claimBatch = 0, claimRow = 0;   ///< next row to hand out; batches count from start()
  int64_t microInEpoch = 0, microPerEpoch = 0;
  int64_t consumed = 0, endBatch = -1;    ///< endBatch: one past the last of an evaluation pass

  Impl(const Source &source, const std::vector<Slot> &slots, Device &device, const LoaderOptions &options)
      : source(source), slots(slots), device(device), options(options) {}

  Cell &cell(int64_t batch) { return cells[static_cast<size_t>(batch) % cells.size()]; }

  void beginEpoch() {
    order.emplace(source.groups(), options.training, options.shuffleBuffer, options.seed, epoch);
    samplesLeft = source.size();
    microInEpoch = 0;
    // Remembered for micro-batches past the epoch's end, which need some sample in them.
    epochFirst = Order(source.groups(), options.training, options.shuffleBuffer, options.seed, epoch).next();
  }

  struct Claim {
    Cell *target;
    int64_t row, count, epoch;
    int64_t samples[MaxClaim];
  };

  bool claimable() const {
    return !paused && (endBatch < 0 || claimBatch < endBatch) &&
           claimBatch < consumed + static_cast<int64_t>(cells.size());
  }

  /// Takes the next rows. Requires claimable().
  void claim(Claim &c) {
    Cell &target = cell(claimBatch);
    if (claimRow == 0) {
      if (microInEpoch == microPerEpoch) {
        ++epoch;
        beginEpoch();
      }
      target.batch.valid = std::min(options.microBatch, samplesLeft);
      target.planned = target.open = std::max<int64_t>(target.batch.valid, 1);
      target.rowSamples.assign(static_cast<size_t>(target.planned), 0);
      target.rowErrors.assign(static_cast<size_t>(target.planned), "");
      target.failure = nullptr;
      target.batch.bad.clear();
    }
    int64_t fair = std::max<int64_t>(1, options.microBatch / (2 * options.workers));
    c.target = &target;
    c.row = claimRow;
    c.count = std::min({MaxClaim, fair, target.planned - claimRow});
    c.epoch = epoch;
    for (int64_t i = 0; i < c.count; ++i)
      c.samples[i] = target.rowSamples[static_cast<size_t>(claimRow + i)] =
          target.batch.valid ? order->next() : epochFirst;
    claimRow += c.count;
    if (claimRow == target.planned) {
      samplesLeft -= target.batch.valid;
      ++claimBatch;
      ++microInEpoch;
      claimRow = 0;
    }
  }

  void loadRows(const Claim &c, LoadContext &context, std::vector<char *> &pointers) {
    context.epoch = c.epoch;
    for (int64_t i = 0; i < c.count; ++i) {
      int64_t row = c.row + i;
      for (size_t s = 0; s < slots.size(); ++s)
        pointers[s] = c.target->batch.tensors[s] + static_cast<uint64_t>(row) * slots[s].bytes();
      try {
        source.load(c.samples[i], pointers.data(), context);
        checkRanges(slots, pointers);
      } catch (const SampleError &error) {
        c.target->rowErrors[static_cast<size_t>(row)] = source.name(c.samples[i]) + ": " + error.what();
      }
    }
  }

  /// Moves the good rows to the front and repeats them behind it.
  void finish(Cell &c) {
    int64_t good = 0;
    c.batch.samples.clear();
    for (int64_t row = 0; row < c.planned; ++row) {
      std::string &error = c.rowErrors[static_cast<size_t>(row)];
      if (!error.empty()) {
        if (c.batch.valid)
          c.batch.bad.push_back(std::move(error));
        continue;
      }
      for (size_t s = 0; s < slots.size() && good != row; ++s)
        std::memcpy(rowAt(c, s, good), rowAt(c, s, row), slots[s].bytes());
      ++good;
      if (c.batch.valid)
        c.batch.samples.push_back(c.rowSamples[static_cast<size_t>(row)]);
    }
    c.batch.valid = c.batch.valid ? good : 0;
    for (int64_t row = good; row < options.microBatch; ++row)
      for (size_t s = 0; s < slots.size(); ++s) {
        if (good)
          std::memcpy(rowAt(c, s, row), rowAt(c, s, row % good), slots[s].bytes());
        else
          std::memset(rowAt(c, s, row), 0, slots[s].bytes());
      }
  }

  char *rowAt(Cell &c, size_t slot, int64_t row) const {
    return c.batch.tensors[slot] + static_cast<uint64_t>(row) * slots[slot].bytes();
  }

  static void *threadMain(void *self) {
    static_cast<Impl *>(self)->work();
    return nullptr;
  }

  void work() {
    LoadContext context;
    context.seed = options.seed;
    context.training = options.training;
    std::vector<char *> pointers(slots.size());
    std::unique_lock lock(mutex);
    for (;;) {
      canClaim.wait(lock, [&] { return stopping || claimable(); });
      if (stopping)
        return;
      Claim c;
      claim(c);
      ++busy;
      lock.unlock();
      std::exception_ptr failure;
      try {
        loadRows(c, context, pointers);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure && !c.target->failure)
        c.target->failure = failure;
      bool last = (c.target->open -= c.count) == 0;
      if (last) {
        lock.unlock();
        finish(*c.target);
        lock.lock();
        c.target->ready = true;
        isReady.notify_all();
      }
      if (--busy == 0)
        idle.notify_all();
    }
  }
};

Loader::Loader(const Source &source, const std::vector<Slot> &slots, Device &device, const LoaderOptions &options)
    : impl(std::make_unique<Impl>(source, slots, device, options)) {
  uint64_t batchBytes = 0;
  for (const Slot &slot : slots)
    batchBytes += roundUp(slot.bytes() * static_cast<uint64_t>(options.microBatch));
  impl->cells.resize(ringSlots(options.microBatch, options.workers));
  impl->memoryBytes = std::max<uint64_t>(64, batchBytes) * impl->cells.size();
  impl->memory = static_cast<char *>(device.allocateStaging(impl->memoryBytes));
  char *at = impl->memory;
  for (auto &cell : impl->cells)
    for (const Slot &slot : slots) {
      cell.batch.tensors.push_back(at);
      at += roundUp(slot.bytes() * static_cast<uint64_t>(options.microBatch));
    }
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, StackBytes);
  for (unsigned i = 0; i < options.workers; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, &Impl::threadMain, impl.get()))
      break;
    impl->threads.push_back(thread);
  }
  pthread_attr_destroy(&attributes);
  if (impl->threads.empty()) {
    device.freeStaging(impl->memory, impl->memoryBytes);
    throw Error(ExitMemory, "cannot start a worker thread");
  }
}

Loader::~Loader() {
  {
    std::lock_guard lock(impl->mutex);
    impl->stopping = true;
  }
  impl->canClaim.notify_all();
  for (pthread_t thread : impl->threads)
    pthread_join(thread, nullptr);
  impl->device.freeStaging(impl->memory, impl->memoryBytes);
}

void Loader::start(int64_t epoch, int64_t step) {
  std::unique_lock lock(impl->mutex);
  impl->paused = true;
  impl->idle.wait(lock, [&] { return impl->busy == 0; });
  const LoaderOptions &options = impl->options;
  for (auto &cell : impl->cells)
    cell.ready = false;
  impl->claimBatch = impl->claimRow = impl->consumed = 0;
  impl->waitSeconds = 0;
  impl->epoch = epoch;
  impl->microPerEpoch = stepsPerEpoch() * options.microPerStep;
  impl->beginEpoch();
  impl->microInEpoch = step * options.microPerStep;
  int64_t skipped = std::min(impl->microInEpoch * options.microBatch, impl->samplesLeft);
  for (int64_t i = 0; i < skipped; ++i)
    impl->order->next();
  impl->samplesLeft -= skipped;
  impl->endBatch = options.training ? -1 : impl->microPerEpoch - impl->microInEpoch;
  impl->paused = false;
  lock.unlock();
  impl->canClaim.notify_all();
}

int64_t Loader::stepsPerEpoch() const {
  int64_t rows = impl->options.microBatch * impl->options.microPerStep;
  return (impl->source.size() + rows - 1) / rows;
}

const MicroBatch *Loader::acquire() {
  std::unique_lock lock(impl->mutex);
  if (impl->endBatch >= 0 && impl->consumed == impl->endBatch)
    return nullptr;
  auto &cell = impl->cell(impl->consumed);
  if (!cell.ready) {
    auto begin = std::chrono::steady_clock::now();
    impl->isReady.wait(lock, [&] { return cell.ready; });
    impl->waitSeconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  if (cell.failure)
    std::rethrow_exception(cell.failure);
  return &cell.batch;
}

void Loader::release() {
  {
    std::lock_guard lock(impl->mutex);
    impl->cell(impl->consumed).ready = false;
    ++impl->consumed;
  }
  impl->canClaim.notify_all();
}

double Loader::waited() const {
  std::lock_guard lock(impl->mutex);
  return impl->waitSeconds;
}

} // namespace gmc::rt
