# The locked Python packages of one image, in one layer: built once for a base and a lock, whatever our code does.
ARG BASE=labdock/base:latest
FROM ${BASE}

# Where images/build.sh serves a wheel folder during the build; PIP_NO_INDEX=1 with it is the air-gapped way.
ARG PIP_FIND_LINKS
ARG PIP_NO_INDEX
ARG PIP_INDEX_URL
ARG PIP_DEFAULT_TIMEOUT=60

# tensorflow/include and libclang are for building extensions: 350 MB that nothing here reads. What is in `home` is
# copied into each environment's home: matplotlib's list of fonts takes seconds to make.
COPY requirements.lock /tmp/build/
RUN set -eu; \
    pip install --no-user --require-hashes --only-binary :all: -r /tmp/build/requirements.lock; \
    cd /opt/labdock/lib/python3.11/site-packages; \
    rm -rf tensorflow/include clang/native /tmp/build; \
    if [ -d matplotlib ]; then \
      MPLCONFIGDIR=/opt/labdock/share/labdock/home/.config/matplotlib python -c 'import matplotlib.font_manager'; \
    fi
