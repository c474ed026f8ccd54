"""What XLA is told in tests and in the programs that they start."""

# Compiling models of two narrow layers takes most of the suite's time and running them next to none.
QUICK = "--xla_backend_optimization_level=0"
EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
