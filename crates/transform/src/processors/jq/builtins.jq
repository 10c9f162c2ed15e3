# What jq 1.6 has and jaq has not, or has otherwise.
def tonumber: if isnumber then . elif isstring then (try fromjson catch null) as $n
  | if $n | isnumber then $n else error("\(.) cannot be parsed as a number") end
  else error("\(type) (\(tojson)) cannot be parsed as a number") end;
def ltrimstr($x): if isstring and ($x | isstring) and startswith($x) then .[($x | length):] else . end;
def rtrimstr($x): if isstring and ($x | isstring) and ($x != "") and endswith($x) then .[:-($x | length)] else . end;
def from_entries:
  reduce .[] as $e ({};
    . + { ($e | if .key == null then (if .k != null then .k elif .name != null then .name elif .Name != null then .Name
                                      elif .K != null then .K else .Key end) else .key end
              | if isstring then . else tojson end):
          ($e | if has("value") then .value elif has("v") then .v else .Value end) });
def with_entries(f): to_entries | map(f) | from_entries;
def ascii: [.] | implode;
def leaf_paths: paths(scalars);
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def INDEX(stream; idx_expr): reduce stream as $row ({}; .[$row | idx_expr | tostring] |= $row);
def INDEX(idx_expr): INDEX(.[]; idx_expr);
def date: todate;
def dateadd(u; n): . + n;
def datesub(u; n): . - n;
def @csv:
  [.[] | if isnumber or isboolean then "\(.)" elif . == null then ""
         elif isstring then "\"" + (split("\"") | join("\"\"")) + "\""
         else error("\(type) (\(tojson)) is not valid in a csv row") end] | join(",");
def @tsv:
  [.[] | if isnumber or isboolean then "\(.)" elif . == null then ""
         elif isstring then split("\\") | join("\\\\") | split("\t") | join("\\t") | split("\n") | join("\\n")
                            | split("\r") | join("\\r")
         else error("\(type) (\(tojson)) is not valid in a tsv row") end] | join("\t");
