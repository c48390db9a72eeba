#!/bin/sh
# Called by solovip with the new state: master, backup or fault. It tells people.
contact=root@localhost
text="$(hostname) is $1 for 192.168.30.30 since $(date '+%F %H:%M:%S')"
logger --tag solovip-notify "$text"
# Mail must not hold anything up: in the background, and no error if there is no mail here.
if command -v mail >/dev/null; then
    echo "$text" | mail -s "$text" "$contact" &
fi
exit 0
