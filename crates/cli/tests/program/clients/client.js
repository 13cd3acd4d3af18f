// dicomweb-client (JavaScript), which OHIF uses, through the gateway: it stores, searches and retrieves. Every byte is compared.
//
// Called by clients.rs with one argument, a JSON object: gateway (an account's DICOMweb root), files (of one study, each
// with path, instance, series and study).

const assert = require('node:assert/strict');
const fs = require('node:fs');

global.XMLHttpRequest = require('xhr2');
const { api } = require('dicomweb-client');

const { gateway, files } = JSON.parse(process.argv[2]);
const study = { studyInstanceUID: files[0].study };
// It warns of answers without content.
const web = new api.DICOMwebClient({ url: gateway, verbose: false });
// As OHIF does; XMLHttpRequest appends it to what the client itself says.
const headers = { Accept: 'multipart/related; type="application/dicom"; transfer-syntax=*' };
const anySyntax = new api.DICOMwebClient({ url: gateway, verbose: false, headers });

const hex = buffer => Buffer.from(buffer).toString('hex');
const sorted = buffers => buffers.map(hex).sort();
const value = (one, tag) => one[tag].Value[0];

async function main() {
  const sent = files.map(file => {
    const bytes = fs.readFileSync(file.path);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  });
  await web.storeInstances({ datasets: sent });
  await web.storeInstances({ datasets: sent, ...study });

  const studies = await web.searchForStudies({ queryParams: { StudyInstanceUID: study.studyInstanceUID } });
  assert.deepEqual(studies.map(one => value(one, '0020000D')), [study.studyInstanceUID]);
  const instances = [];
  for (let offset = 0; ; offset += 2) {
    const page = await web.searchForInstances({ ...study, queryParams: { limit: 2, offset } });
    if (!page || page.length === 0) break;
    instances.push(...page.map(one => value(one, '00080018')));
  }
  assert.deepEqual(instances.sort(), files.map(file => file.instance).sort());
  const metadata = await web.retrieveStudyMetadata(study);
  assert.equal(metadata.length, files.length);

  assert.deepEqual(sorted(await anySyntax.retrieveStudy(study)), sorted(sent));
  // Without a media type it asks for `multipart/related; type="application/dicom"`, which is Explicit VR Little Endian.
  assert.deepEqual(sorted(await web.retrieveStudy(study)), sorted(sent));
  let progress = 0;
  for (const series of new Set(files.map(file => file.series))) {
    const of = sent.filter((_, position) => files[position].series === series);
    const where = { ...study, seriesInstanceUID: series };
    const request = { progressCallback: () => { progress += 1; } };
    assert.deepEqual(sorted(await web.retrieveSeries({ ...where, request })), sorted(of));
    assert.equal((await web.retrieveSeriesMetadata(where)).length, of.length);
  }
  assert.ok(progress > 0);
  await Promise.all(files.map(async (file, position) => {
    const where = { ...study, seriesInstanceUID: file.series, sopInstanceUID: file.instance };
    assert.equal(hex(await web.retrieveInstance(where)), hex(sent[position]));
    assert.equal(value(await web.retrieveInstanceMetadata(where).then(one => one[0] ?? one), '00080018'), file.instance);
  }));
  await assert.rejects(web.retrieveStudy({ studyInstanceUID: '1.2.3.4' }), error => error.status === 404);
}

main().catch(error => {
  console.error(error);
  process.exitCode = 1;
});
