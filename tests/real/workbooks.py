"""Workbooks of a sheet that no program would write."""

import io
import zipfile


def workbook(row, times=1, **parts):
    """The bytes of a workbook whose one sheet has the heading `name`, then the XML `row` so many times, {n} being the
    number of each; `parts` are the XML of sharedStrings and styles."""
    made, related = io.BytesIO(), '<Relationships><Relationship Id="a" Type="x/{}" Target="{}"/>{}</Relationships>'
    others = "".join(f'<Relationship Id="{name}" Type="x/{name}" Target="{name}.xml"/>' for name in parts)
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("_rels/.rels", related.format("officeDocument", "xl/workbook.xml", ""))
        file.writestr("xl/workbook.xml", '<workbook xmlns:r="r"><sheets><sheet name="S" r:id="a"/></sheets></workbook>')
        file.writestr("xl/_rels/workbook.xml.rels", related.format("worksheet", "sheet.xml", others))
        for name, xml in parts.items():
            file.writestr(f"xl/{name}.xml", xml)
        with file.open("xl/sheet.xml", "w", force_zip64=True) as sheet:
            sheet.write(b'<worksheet><sheetData><row><c t="str"><v>name</v></c></row>')
            for begun in range(0, times, 1000):  # larger than memory, perhaps
                numbers = range(begun, min(begun + 1000, times))
                sheet.write("".join(row.format(n=number) for number in numbers).encode())
            sheet.write(b"</sheetData></worksheet>")
    return made.getvalue()
