// JSON Schema as an example of what it describes.

const DEEPEST = 6;

export function resolve(api, schema) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((place, name) => place[name], api);
}

// An object of the names and, as values, examples or the names of their types.
export function shapeOf(api, schema, depth = 0) {
  const known = resolve(api, schema);
  if (known.examples?.length) return known.examples[0];
  if (known.const !== undefined) return known.const;
  const choices = (known.anyOf ?? known.oneOf ?? []).filter((each) => each.type !== "null");
  if (choices.length) {
    const shape = shapeOf(api, choices[0], depth);
    return choices.length < (known.anyOf ?? known.oneOf).length && typeof shape === "string" ? `${shape} or null` : shape;
  }
  if (depth >= DEEPEST) return "…";
  if (known.type === "array") return [shapeOf(api, known.items, depth + 1)];
  if (known.properties) {
    return Object.fromEntries(Object.entries(known.properties).map(([name, each]) => [name, shapeOf(api, each, depth + 1)]));
  }
  if (known.type === "object") return {};
  return known.format ?? known.type ?? "any JSON";
}

export function exampleOf({ example, examples, schema }) {
  const found = example ?? Object.values(examples ?? {})[0]?.value ?? schema.examples?.[0];
  return found ?? schema.default ?? "";
}
