// SPDX-License-Identifier: Apache-2.0
// The builds of onnxruntime-web that reach WebNN make functions from strings at run time. The
// page's Content-Security-Policy forbids that, and is not to be weakened for one function that
// Emscripten can also write without it (its option DYNAMIC_EXECUTION=0).

const HEAD =
  /function \w+\((\w+),(\w+),(\w+)\)\{var \[(\w+),\.\.\.(\w+)\]=\w+\(\1,\2>>>0\);\2=\4\.\w+\.bind\(\4\);var (\w+)=\5\.map\(/;
const EVAL = /\(new Function\(Object\.keys\((\w+)\),\w+\)\)\(\.\.\.Object\.values\(\1\)\)/;

/** What _emval_create_invoker builds as a string, as a closure. */
function emvalInvoker(kind, readers, { toValue, getStringOrSymbol, toReturnWire, emval_returnValue }) {
  return (handle, methodName, destructorsRef, args) => {
    const values = readers.map((read, i) => read(args + 8 * i));
    let result;
    if (kind === 0) result = toValue(handle)(...values);
    else if (kind === 1) result = toValue(handle)[getStringOrSymbol(methodName)](...values);
    else if (kind === 2) result = new (toValue(handle))(...values);
    else result = values.at(-1);
    return toReturnWire === undefined ? undefined : emval_returnValue(toReturnWire, destructorsRef, result);
  };
}

/** Return the Emscripten script without the function made from a string. */
export function withoutEval(script, name) {
  const head = HEAD.exec(script);
  const call = EVAL.exec(script);
  if (head === null || call === null || script.split("new Function").length !== 2) {
    throw new Error(
      `${name} is not the script this patch was written for: compare _emval_create_invoker in it`,
    );
  }
  const patched = script.replace(EVAL, `emvalInvoker(${head[3]},${head[6]},${call[1]})`);
  return `${patched}\n// Changed by accelerate: no function is made from a string.\n${emvalInvoker.toString()}\n`;
}
