#!/bin/sh
# Exit 0: nginx answers, or is not meant to run here now. A node that does not hold
# the address runs no nginx, and that must not lower its priority.
systemctl is-active --quiet nginx || {
    # Failed is a fault, stopped is not.
    ! systemctl is-failed --quiet nginx
    exit
}
exec curl --silent --fail --max-time 1 --output /dev/null http://127.0.0.1/
