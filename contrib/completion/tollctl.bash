# Completion of tollctl for bash: source it, or put it into
# /usr/share/bash-completion/completions/tollctl. What can be completed is read
# from `tollctl help`, so that it is always what the program knows.

# Print the words that may follow "$@", the words typed after tollctl.
_tollctl_words() {
    "${_tollctl_program:-tollctl}" help 2>/dev/null |
        awk -v typed="$*" '
        BEGIN {
            n = split(typed, w, " ")
            for (i = 1; i <= n; i++) {
                if (w[i] == "--socket" || w[i] == "-c") { i++; continue }
                if (w[i] == "--json") continue
                if (noun == "") noun = w[i]
                else if (verb == "" && w[i] !~ /^-/) verb = w[i]
            }
            if (noun == "help") {
                helped = 1
                noun = verb
                if (verb != "") exit
            }
        }
        /^  [a-z]/ {
            two = $2 ~ /^[a-z-]+$/ && $0 ~ /^  [a-z-]+ [a-z-]+( |$)/
            here = noun == $1 && (!two || verb == $2)
            if (noun == "") print $1
            else if (noun == $1 && two && verb == "") print $2
        }
        /^      \[--/ && here {
            gsub(/[][]|\.\.\./, "")
            print $1
        }
        END {
            if (noun == "" && !helped) print "help\n--socket\n--json\n-c"
        }' | sort -u
}

# Print the values that option $1 may have, if the help lists them. Fails when
# the option takes none.
_tollctl_values() {
    "${_tollctl_program:-tollctl}" help 2>/dev/null |
        awk -v option="$1" '
        /^      \[--/ {
            gsub(/[][]|\.\.\./, "")
            if ($1 != option || NF < 2) next
            found = 1
            n = split($2, v, "|")
            for (i = 1; n > 1 && i <= n; i++)
                if (v[i] !~ /[A-Z0-9]/) print v[i]
        }
        END { exit !found }'
}

_tollctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local words

    COMPREPLY=()
    _tollctl_program=${COMP_WORDS[0]}
    case $prev in
    --socket | -c | check)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    log-level)
        words="err warn note info debug"
        ;;
    --*)
        words=$(_tollctl_values "$prev") ||
            words=$(_tollctl_words "${COMP_WORDS[@]:1:COMP_CWORD-1}")
        ;;
    *)
        words=$(_tollctl_words "${COMP_WORDS[@]:1:COMP_CWORD-1}")
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _tollctl tollctl
