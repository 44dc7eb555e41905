.PHONY: tools
tools: ## Build the programs that tests, demo and benchmarks run (once; see tests/tools/README.md)
	tests/tools/build
