// Runs in Orthanc Explorer, with its jQuery Mobile: a button on the start page.
$("#lookup").live("pagebeforeshow", function () {
  $("#open-google-cloud-platform").remove();
  var link = $("<a>")
    .attr("href", "../google-cloud-platform/app/index.html")
    .attr("data-role", "button")
    .attr("data-icon", "grid")
    .attr("data-theme", "a")
    // Not a page of jQuery Mobile's: it is opened as any other.
    .attr("rel", "external")
    .text("Google Cloud Platform")
    .button();
  var middle = $("<div>").addClass("ui-block-b").append(link);
  var row = $("<fieldset>").attr("id", "open-google-cloud-platform").addClass("ui-grid-b");
  row.append($("<div>").addClass("ui-block-a"), middle).insertAfter($("#lookup-result"));
});
