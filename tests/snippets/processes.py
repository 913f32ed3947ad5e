"""Several processes that train together, for tests."""

import multiprocessing

import torch
import torch.distributed as dist


def ranks(n, work, path):
    """What work returns on each of n processes, by rank."""

    def one(rank, results):
        torch.set_num_threads(1)
        store = dist.FileStore(str(path), n)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=n)
        found = work()
        dist.barrier()
        dist.destroy_process_group()
        results.put((rank, found))

    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    processes = [fork.Process(target=one, args=(r, results)) for r in range(n)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=60) for _ in range(n))
    for process in processes:
        process.join()
    return [found[rank] for rank in range(n)]
