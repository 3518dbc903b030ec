#!/bin/sh
# Starts and ends the programs of one control plane, as their parent. Commands come one a line on stdin:
#   hello                  answers "hello"
#   start NAME COMMAND...  COMMAND is quoted shell text; its output goes to NAME.log; answers "started PID"
#   stop NAME              SIGTERM, after 10 s SIGKILL; answers "stopped STATUS"
# When stdin ends (the test closed it, or the test process is gone, however it died) everything is stopped, last
# started first, and the folder `data` is removed. The logs stay.
set -u
# Not ignored but caught: an ignored signal would be inherited by the programs.
trap : HUP INT TERM
running=''
pid=''

end() {
    eval "pid=\$pid_$1"
    kill -TERM "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null; do
        if [ "$tries" -eq 200 ]; then
            kill -KILL "$pid" 2>/dev/null
        fi
        sleep 0.05
        tries=$((tries + 1))
    done
    wait "$pid"
    status=$?
    others=
    for name in $running; do
        [ "$name" = "$1" ] || others="$others $name"
    done
    running=$others
}

while IFS=' ' read -r verb name command; do
    case $verb in
    hello)
        echo hello
        ;;
    start)
        eval "exec $command" >>"$name.log" 2>&1 </dev/null &
        eval "pid_$name=$!"
        running="$name $running"
        echo "started $!"
        ;;
    stop)
        end "$name"
        echo "stopped $status"
        ;;
    *)
        echo "unknown command $verb"
        ;;
    esac
done

for name in $running; do
    end "$name"
done
rm -rf data
