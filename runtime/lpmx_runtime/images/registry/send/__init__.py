"""What goes to registries and to OCI layouts.

Modules, each using only those above it:

    content   the bytes of a blob, from wherever they are, any part of them again
    upload    one blob into a repository: whole or in pieces, going on after cuts
    target    many blobs and the manifests above them
    push      an image of the store
    ends      a repository that a copy reads from or writes to
    layout    an OCI layout that it reads from or writes to
    copy      an image from one to the other
"""
