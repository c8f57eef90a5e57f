.PHONY: up test
