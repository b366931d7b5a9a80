"""A client of OCI registries: distribution-spec 1.1, with docker's tokens and manifests.

Modules, each using only those above it:

    errors       what a registry or the way to it can refuse
    challenge    the header WWW-Authenticate
    helpers      programs that keep credentials
    credentials  who one is for a registry: the files and helpers of docker, podman and others
    settings     registries.conf: mirrors, other places, blocked and insecure registries
    answers      small bodies, errors in them, and how long to wait
    transport    connections: certificates, proxies, redirects, when to try again
    tokens       token services
    client       manifests and blobs of one repository, with the tokens they need
    places       the mirrors and the registry of an image, opened
    tags         the tags of a repository
    choose       which image of an index is meant
    download     blobs as files: checked, continued after a cut and by the next command
    signatures   those of an image, in its repository
    sources      where the images of the store came from
    pull         an image of a registry into the store
"""
