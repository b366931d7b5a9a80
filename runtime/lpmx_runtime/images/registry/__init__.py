"""A client of OCI registries: distribution-spec 1.1, with docker's tokens and manifests.

Modules, each using only those above it:

    wire/        requests, credentials and answers
    places       the mirrors and the registry of an image, opened
    tags         the tags of a repository
    choose       which image of an index is meant
    download     blobs as files: checked, continued after a cut and by the next command
    remote       an image as its registry has it
    search       repositories by a word, where a registry has that
    signatures   those of an image, in its repository
    blobnotes    as which blobs the layers of the store came
    sources      where the images of the store came from
    archive      the image of a manifest as an archive for `load`
    pull         an image of a registry into the store
    send/        what goes to registries and to OCI layouts
"""
