// What the page wants to know of the Orthanc around it. It does without, where that is not to be had.
import * as rest from "./rest.js";

const USUAL_CLIENT = "../../dicom-web/app/client/index.html";
/** Root URIs of plugins are relative to the pages of Orthanc Explorer. */
const EXPLORER = "../../app/";

/** The name in Orthanc's configuration; empty if there is none. */
export async function orthancName() {
  const { Name: name } = await rest.system().catch(() => ({}));
  return name ?? "";
}

/** The DICOMweb plugin's only server; null where there are several, or it does not say. */
export async function onlyServer(client) {
  const names = await rest.servers(new URL("../../servers", new URL(client, location.href)).href).catch(() => []);
  return Array.isArray(names) && names.length === 1 ? names[0] : null;
}

/** The DICOMweb plugin's page for searching and retrieving, wherever its root is. */
export async function dicomwebClient() {
  const { RootUri: root } = await rest.plugin("dicom-web").catch(() => ({}));
  if (!root) return USUAL_CLIENT;
  const address = new URL(root, new URL(EXPLORER, location.href));
  return address.origin === location.origin ? address.href : USUAL_CLIENT;
}
