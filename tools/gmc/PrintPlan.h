//===- PrintPlan.h - plans as a person reads them ---------------------------------------------*- C++ -*-===//
#ifndef GMC_TOOLS_GMC_PRINTPLAN_H
#define GMC_TOOLS_GMC_PRINTPLAN_H

#include "compiler/Pipeline/Compiler.h"

namespace gmc {

/// "1.61 GB": three digits, decimal units.
std::string bytesText(double bytes);
/// "61.2 ms", or "1h 12m" from a minute on.
std::string timeText(double ms);

/// The answer of `gmc plan`.
void printPlan(llvm::raw_ostream &os, const CompiledPlan &compiled, const CompileRequest &request);
/// What does not fit, and what would help.
void printNoFit(llvm::raw_ostream &os, const CompiledPlan &compiled, const CompileRequest &request);
/// Every trade between memory and time, one a line.
void printFrontier(llvm::raw_ostream &os, const planning::Plan &plan);

} // namespace gmc

#endif
