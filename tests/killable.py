"Processes to be killed, there in a moment: forked from one that has imported torch already."
import multiprocessing, os

FORKS = multiprocessing.get_context('forkserver')
FORKS.set_forkserver_preload(['sciencetutor.train.core', 'sciencetutor.eval.core', 'sciencetutor.eval.generation'])


def silently(f, kw):
    import torch
    torch.set_num_threads(1)
    for stream in (1, 2): os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    f(**kw)


def begin(f, **kw):
    "Start `f` in a process of its own."
    p = FORKS.Process(target=silently, args=(f, kw))
    p.start()
    return p


def end(p):
    "Wait for it: its exit code, below 0 where a signal ended it."
    p.join()
    return p.exitcode
