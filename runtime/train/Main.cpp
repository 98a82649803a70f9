// main() of a trainer executable, an object of its own in the archive.
#include "runtime/train/Trainer.h"

int main(int argc, char **argv) { return gmc::rt::trainerMain(gmc_model, argc, argv); }
