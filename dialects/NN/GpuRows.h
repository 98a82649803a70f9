//===- GpuRows.h - rows that groups of GPU threads read, reduce and write ---------------------*- C++ -*-===//
//
// The cooperative form of kernels that reduce rows of neighbouring elements: up to 32 threads of a warp, or a whole
// block, share a row. Each thread has some chunks of 16 bytes of it, which it loads once and keeps in registers for all
// reductions and stores that follow, up to 16384 elements a row; longer rows are read again by each. Partial
// results are combined through shuffles and shared memory in an order that depends on the shape alone.
//
// A row whose size is no multiple of a chunk begins and ends inside of one: such a chunk is loaded whole, and elements
// of other rows take no part; it is stored element by element.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_DIALECTS_NN_GPUROWS_H
#define GMC_DIALECTS_NN_GPUROWS_H

#include "dialects/Interfaces/KernelBuilder.h"
#include "dialects/NN/Scalar.h"

namespace gmc::nn {

/// Bytes of an element: in the narrowest buffer behind some operands and results, which says how many elements an
/// access of 16 bytes takes, and in the widest of their types, which says how many registers those are.
struct ElementBytes {
  int64_t narrowest = 4, widest = 4;
};
ElementBytes accessedBytes(const KernelBuilder &kernel, llvm::ArrayRef<unsigned> operands,
                           llvm::ArrayRef<unsigned> results = {});

struct RowLayout {
  int64_t rows = 0;
  int64_t size = 0;         ///< elements of a piece, which are neighbours
  int64_t elements = 0;     ///< of the buffers that hold the rows
  ElementBytes bytes;       ///< of an element in them
  int64_t pieces = 1;       ///< that make up a row
  /// Position of the first element of a piece in the buffers, a multiple of `size`; null: row * size.
  std::function<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::Value row, mlir::Value piece)> base = nullptr;
  /// Elements that a piece has, at most `size`; null: `size`.
  std::function<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::Value row, mlir::Value piece)> length = nullptr;
  /// Whether the row has the piece, as i1; null: it has all.
  std::function<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::Value row, mlir::Value piece)> exists = nullptr;
};

/// `elements` neighbours cut into `rows` rows of equal length but for the last ones.
RowLayout cutIntoRows(int64_t elements, int64_t rows, ElementBytes bytes);

class GpuRow {
public:
  struct Chunk;
  /// An element: its number in its piece of the row, and whether it is one of this row (null: certainly).
  struct Element {
    Chunk *chunk;
    int64_t lane;
    mlir::Value index, inside;
  };
  using Term = llvm::function_ref<Scalar(mlir::OpBuilder &, mlir::Location, const Element &)>;
  using Terms = llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::OpBuilder &, mlir::Location, const Element &)>;

  GpuRow(KernelBuilder &kernel, const RowLayout &layout, const GpuBlock &block);
  ~GpuRow();

  /// The element in operand i as `type`, read when it is first asked for.
  Scalar load(mlir::OpBuilder &b, mlir::Location loc, unsigned i, const Element &e, mlir::Type type);
  /// The element's position in the buffers.
  mlir::Value position(mlir::OpBuilder &b, mlir::Location loc, const Element &e);
  /// Element `index` of operand i, one row that belongs to all.
  Scalar parameter(mlir::OpBuilder &b, mlir::Location loc, unsigned i, const Element &e, mlir::Type type);
  /// The terms of all elements of the row combined, from `inits`, which change nothing when combined with; all threads
  /// of the row get the results. Contains barriers: not to be called under a condition.
  llvm::SmallVector<mlir::Value> reduce(mlir::OpBuilder &b, mlir::Location loc, mlir::ValueRange inits, Terms terms,
                                        GpuBlock::Combine combine);
  mlir::Value sum(mlir::OpBuilder &b, mlir::Location loc, mlir::Type type, Term term);
  /// Writes each element of the row to result i, converted to its type.
  void store(mlir::OpBuilder &b, mlir::Location loc, unsigned i, Term value);
  /// Operand i has one number for each row: this one's. Neighbouring rows' numbers are read, and stored, together,
  /// where the rows are so short that a warp has several: then theirs are no small part of the bytes. To be called by
  /// all threads.
  mlir::Value number(mlir::OpBuilder &b, mlir::Location loc, unsigned i);
  void storeNumber(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, unsigned i);
  /// The same to a workspace of the rows.
  void storeNumber(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Value buffer);
  /// Runs `body` in one thread of the row.
  void once(mlir::OpBuilder &b, mlir::Location loc, llvm::function_ref<void(mlir::OpBuilder &, mlir::Location)> body);

  /// The number of the row; threads that are too many have the last one, and store nothing.
  mlir::Value index() const { return row; }

  /// How many threads share a row, and how many are in a block.
  static std::pair<int64_t, int64_t> threads(const RowLayout &layout);

private:
  friend void emitGpuRows(KernelBuilder &, const RowLayout &,
                          llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, GpuRow &)>);
  void place(mlir::OpBuilder &b, mlir::Location loc, mlir::Value blockIndex);
  int64_t numbersAtOnce(mlir::Type type) const;
  void together(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, int64_t count,
                llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, llvm::ArrayRef<mlir::Value>)> store);
  std::unique_ptr<Chunk> chunk(mlir::OpBuilder &b, mlir::Location loc, mlir::Value number, bool certain);
  void
  over(mlir::OpBuilder &b, mlir::Location loc, mlir::SmallVectorImpl<mlir::Value> &accumulators,
       llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, Chunk &, mlir::SmallVectorImpl<mlir::Value> &)> body);
  KernelBuilder &kernel;
  const RowLayout &layout;
  const GpuBlock &block;
  mlir::Value row, lane, active; ///< active: null where every thread has a row
  llvm::SmallVector<std::unique_ptr<Chunk>> kept;
};

/// An element of a row on any target: its number and, on a GPU, what its thread knows of it.
struct RowAt {
  mlir::Value index;
  const GpuRow::Element *element = nullptr;
  RowAt(mlir::Value index) : index(index) {}
  RowAt(const GpuRow::Element &e) : index(e.index), element(&e) {}
};

/// A cooperative nest in which `body` is what the threads of one row do.
void emitGpuRows(KernelBuilder &kernel, const RowLayout &layout,
                 llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, GpuRow &)> body);

} // namespace gmc::nn

#endif
