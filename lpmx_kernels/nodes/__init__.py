"""Kernels on other nodes: started by a batch system's own way to run a command at once.

`srun` or `qrsh` starts node.py on a node, and the pipes of that one client are all there is between
here and there: what to start and which signals go down its stdin, what became of it comes up its
stdout, and stderr is the kernel's log. So nothing else has to be reachable, signals need no help of
the queue, and the end of either side is an end of file at the other.

queues.py: the command lines. job.py: this side. node.py, address.py: that side. wire.py: what is
said. elsewhere.py: a start, for the provisioner. relay.py: for clients that know no provisioners.
"""
