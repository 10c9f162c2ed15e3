# What jq 1.6 has and jaq has not, or has otherwise.
def tonumber: if isnumber then . elif isstring then (try fromjson catch null) as $n
  | if $n | isnumber then $n else error("\(.) cannot be parsed as a number") end
  else error("\(type) (\(tojson)) cannot be parsed as a number") end;
def ltrimstr($x): if isstring and ($x | isstring) and startswith($x) then .[($x | length):] else . end;
def rtrimstr($x): if isstring and ($x | isstring) and ($x != "") and endswith($x) then .[:-($x | length)] else . end;
def from_entries:
  reduce .[] as $e ({};
    . + { ($e | .key // .name // .Name // .Key
              | if isstring then . else error("Cannot use \(type) (\(tojson)) as object key") end):
          ($e | if has("value") then .value else .Value end) });
def with_entries(f): to_entries | map(f) | from_entries;
def leaf_paths: paths(scalars);
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def INDEX(stream; idx_expr): reduce stream as $row ({}; .[$row | idx_expr | tostring] |= $row);
def INDEX(idx_expr): INDEX(.[]; idx_expr);
def standpipe_seconds:
  if isnumber and (. > 1e12 or . < -1e12) then error("\(.) is no time in seconds") else . end;
def strftime($format): standpipe_seconds | standpipe_strftime($format);
def gmtime: standpipe_seconds | standpipe_gmtime;
def gamma: lgamma;
def join($s):
  reduce .[] as $x (null;
    (if . == null then "" else . + $s end) + ($x | if . == null then "" elif isstring then . else tojson end)) // "";
def getpath($path): reduce $path[] as $p (.; standpipe_room($p) | .[$p]);
def setpath($path; $x): getpath($path) = $x;
def delpaths($paths):
  reduce ($paths | unique | reverse[]) as $path (.;
    if $path == [] then null
    elif (try (getpath($path[:-1]) | has($path[-1])) catch false) then getpath($path) |= empty
    else . end);
def del(f): delpaths([path(f)]);
def @csv:
  [.[] | if isnumber or isboolean then "\(.)" elif . == null then ""
         elif isstring then "\"" + (split("\"") | join("\"\"")) + "\""
         else error("\(type) (\(tojson)) is not valid in a csv row") end] | join(",");
def @tsv:
  [.[] | if isnumber or isboolean then "\(.)" elif . == null then ""
         elif isstring then split("\\") | join("\\\\") | split("\t") | join("\\t") | split("\n") | join("\\n")
                            | split("\r") | join("\\r")
         else error("\(type) (\(tojson)) is not valid in a tsv row") end] | join("\t");
