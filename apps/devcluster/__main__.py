"""`python -m apps.devcluster start`: the development cluster without Django."""

import argparse
import sys

from apps.devcluster import command

parser = argparse.ArgumentParser(prog="devcluster", description="A Kubernetes for laptops: pods are local processes.")
command.add_arguments(parser)
sys.exit(command.run(parser.parse_args()))
