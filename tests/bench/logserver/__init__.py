"""A log server for benchmarks and tests: an API server and its nodes, as far as logs go, that forgets as real ones do.

It speaks what Cube's gateway, its collector and `kubectl logs` ask: version, discovery, nodes, pods with list and
watch, and `pods/<name>/log`. The nodes keep containers' logs as a kubelet and containerd do:

- a file is rotated when a check, every `rotate_every` seconds, finds it larger than `rotate_bytes`; only the newest
  file is ever read, so what lies in older ones is lost to whoever had not read it (they are not kept here at all);
- a follower reads the file it has open to its end, then goes on with the newest: blocked over two rotations it skips
  the file between, without a word;
- `sinceTime` counts in whole seconds; a line above 16 KiB leaves in pieces and is one line; `previous` gives the last
  dead instance of a container; a deleted pod is 404 at once; a container that waits is 400;
- each follow that has come to the end of a file holds one of its node's inotify instances, and when there are none left
  the answer ends in "failed to create fsnotify watcher: too many open files" (400 when nothing was written before),
  while plain reads work;
- follows are cut: all of them after `cut_after` seconds, busy or not, and at random after `cut_mean` seconds, cleanly,
  in the middle of a line, or with a reset; with `silent_after_rotation` they hang instead, as before Kubernetes 1.29.

What was written is known exactly: a `Ledger` per container run counts, hashes and, when asked to, keeps every line, and
knows which lines were handed to a connection. That is the oracle a log store is compared with.
"""
