"""The upkeep of a worker: what must happen although nobody asks for it.

For this worker: its heartbeat (`presence`), a look at the queue without any wake-up (`lookout`), and the attempts whose
runner died together with whoever stayed with it (`remains`). For the whole service, by one leader: runs whose lease
ended, wake-ups that are owed, and the rest of `leader`. All of it in one thread of the main process (`thread`),
which tells the pool what it must know (`shared`) and starts processes beside it when the broker is silent (`standins`).
"""
