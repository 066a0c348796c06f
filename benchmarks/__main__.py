"""Run all benchmarks except the long one: `python -m benchmarks`."""

from benchmarks import aggregate, codecs, demo, read_slice, steps, tasks

if __name__ == "__main__":
    steps.main()
    tasks.main()
    aggregate.main()
    codecs.main()
    read_slice.main()
    demo.main()
