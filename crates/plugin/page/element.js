// Makes what the page shows. Text only ever becomes text: nothing that comes from DICOM or Google is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. Children are elements or texts; what is null or false is left out. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same in SVG. */
export function drawing(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Says something else, if it is something else: what stays as it was keeps its selection, and is not read out again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows other children, if they differ. */
export function show(node, ...children) {
  const made = element("div", {}, ...children);
  const isSame =
    made.childNodes.length === node.childNodes.length &&
    [...made.childNodes].every((child, index) => child.isEqualNode(node.childNodes[index]));
  if (!isSame) node.replaceChildren(...made.childNodes);
}

/**
 * Keeps one part for each item, in their order. A part is `{node, update(item)}`. Parts stay where their items stay, and where
 * items change places the others move round the one that somebody is in: a part that moves loses the focus.
 */
export function keepParts(container, parts, items, keyOf, make) {
  const keys = new Set(items.map(keyOf));
  for (const [key, part] of parts) {
    if (keys.has(key)) continue;
    part.node.remove();
    parts.delete(key);
  }
  const held = [...container.children].find((node) => node.contains(document.activeElement));
  let place = container.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    if (!parts.has(key)) parts.set(key, make(item));
    const { node, update } = parts.get(key);
    while (node === held && place !== held) {
      const next = place.nextElementSibling;
      held.after(place);
      place = next;
    }
    if (node === place) place = place.nextElementSibling;
    else container.insertBefore(node, place);
    update(item);
  }
}
