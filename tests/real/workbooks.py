"""Workbooks of a sheet that no program would write."""

import io
import zipfile


def workbook(row, times=1):
    """The bytes of a workbook whose one sheet has the heading `name`, then the XML `row` so many times."""
    made, related = io.BytesIO(), '<Relationships><Relationship Id="a" Type="x/{}" Target="{}"/></Relationships>'
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("_rels/.rels", related.format("officeDocument", "xl/workbook.xml"))
        file.writestr("xl/workbook.xml", '<workbook xmlns:r="r"><sheets><sheet name="S" r:id="a"/></sheets></workbook>')
        file.writestr("xl/_rels/workbook.xml.rels", related.format("worksheet", "sheet.xml"))
        with file.open("xl/sheet.xml", "w", force_zip64=True) as sheet:
            sheet.write(b'<worksheet><sheetData><row><c t="str"><v>name</v></c></row>')
            for begun in range(0, times, 1000):  # larger than memory, perhaps
                sheet.write(row.encode() * min(1000, times - begun))
            sheet.write(b"</sheetData></worksheet>")
    return made.getvalue()
