//===- Main.cpp - gmc, the command line -----------------------------------------------------------------===//

#include "tools/gmc/Options.h"

int main(int argc, char **argv) {
  gmc::installCrashHandlers(argc, argv);
  CLI::App app("gmc turns an ONNX model into a native trainer whose memory is planned to the byte.", "gmc");
  app.set_version_flag("--version", "gmc " GMC_VERSION);
  app.require_subcommand(1);
  // Of a repeated single-valued option the last one counts; subcommands inherit it.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  int exitCode = 0;
#define GMC_COMMAND(NAME) gmc::register##NAME(app, exitCode);
#include "tools/gmc/Commands.def"
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &help) {
    return app.exit(help);
  } catch (const CLI::ParseError &error) {
    app.exit(error, std::cout, std::cerr);
    return gmc::ExitUsage;
  } catch (const std::exception &error) {
    return gmc::internalError(error.what());
  }
  return exitCode;
}
